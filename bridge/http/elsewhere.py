"""A request handed over to the web process that holds its session: sent on as it came, answered as that one answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from bridge.chat.errors import ConnectionLost
from bridge.http.base import Headers
from bridge.peers.handover import PREFIX, TAKEN, TURN, encoded
from bridge.pool.policy import Affinity
from bridge.telemetry import metrics
from sessions_store.store import Found

if TYPE_CHECKING:  # a process that is alone does not load the library of the client
    import aiohttp

    from bridge.http.chat import ChatConsumer
    from bridge.peers.peers import Peer, Peers

NOT_PASSED_ON: Final = frozenset(
    {
        b"connection", b"content-encoding", b"content-length", b"expect", b"host", b"keep-alive", b"proxy-connection",
        b"te", b"trailer", b"transfer-encoding", b"upgrade",
    }
)  # fmt: skip
"""Of the connection, or of the body as it came; it goes on decoded."""
OF_A_CONNECTION: Final = frozenset({b"connection", b"date", b"keep-alive", b"server", b"transfer-encoding"})


class PeerElsewhere:
    """Hands the turn of one request over. Made for each request, so it is small."""

    __slots__ = ("_body", "_consumer", "_peers", "taken")

    def __init__(self, consumer: ChatConsumer, peers: Peers, body: bytes) -> None:
        self.taken = False
        """The other process has the turn, and writes its row."""
        self._consumer = consumer
        self._peers = peers
        self._body = body

    def holds(self, affinity: Affinity) -> bool:
        # Of a process that has just come nobody has heard yet.
        return self._peers.holder(affinity) is not None or not self._consumer.runtime.pool.named(affinity.name)

    @property
    def has_room(self) -> bool:
        return self._peers.has_room

    async def run(self, found: Found | None) -> bool:
        """See `bridge.turn.elsewhere`."""
        peers = self._peers
        if found is not None:
            peer = await peers.find(Affinity(found.instance, found.generation))
        else:
            peer = peers.roomiest()
        if peer is None:
            return False
        response: aiohttp.ClientResponse | None = None
        outcome = "lost"
        try:
            response = await self._ask(peer, found)
            if response is None or TAKEN.decode() not in response.headers:
                outcome = "declined" if response is not None else "lost"
                return False
            outcome = "taken"
            return await self._pass_on(peer, response)
        finally:
            metrics.HANDED_OVER.labels(outcome).inc()
            if not self.taken:
                self._consumer.not_given_away()
            # By then it is at its end, or nobody wants the rest: to hang up stops the turn there.
            if response is not None:
                response.close()

    async def _ask(self, peer: Peer, found: Found | None) -> aiohttp.ClientResponse | None:
        """The head of the answer; None when the process is gone. It may take as long as a turn takes."""
        consumer = self._consumer
        headers = _passed_on(consumer.scope["headers"])
        headers.append((TURN.decode(), encoded(consumer.hand_over(found, self._peers.name))))
        path = consumer.endpoint
        work = self._peers.client.post(peer.report, path, headers, self._body)
        asking = asyncio.get_running_loop().create_task(work)
        kept: aiohttp.ClientResponse | None = None
        try:
            # No deadline: as long as its process reports, a turn may take what it takes.
            await asyncio.wait((asking, peer.gone), return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                return None
            kept = await asking
        except self._peers.client.lost:
            return None
        else:
            return kept
        finally:
            if kept is None:
                asking.cancel()
                # The head may come in the very moment in which its process or the client goes.
                asking.add_done_callback(_close)

    async def _pass_on(self, peer: Peer, response: aiohttp.ClientResponse) -> bool:
        """The answer to the client. False when it was lost and the client has seen nothing of it."""
        consumer = self._consumer
        whole = b""
        if consumer.request.stream:
            self._take(response)
            await consumer.start_as(response.status, _answered(response.raw_headers))
        hang_up = lambda _: response.close()  # noqa: E731
        peer.gone.add_done_callback(hang_up)
        try:
            if not consumer.request.stream:
                whole = await response.read()
            async for part in response.content.iter_any():
                await consumer.send_part(part, last=False)
        except self._peers.client.lost:
            if not self.taken:
                return False
            self.taken = False
            raise consumer.lost_elsewhere(ConnectionLost("The process that ran the turn was lost.")) from None
        finally:
            peer.gone.remove_done_callback(hang_up)
        if not consumer.request.stream:
            self._take(response)
            await consumer.start_as(response.status, _answered(response.raw_headers))
        await consumer.send_last(whole)
        return True

    def _take(self, response: aiohttp.ClientResponse) -> None:
        self.taken = True
        self._consumer.given_away(response.headers.get("x-lingma-instance", ""))


def _close(asking: asyncio.Task[aiohttp.ClientResponse]) -> None:
    if not asking.cancelled() and asking.exception() is None:
        asking.result().close()


def _passed_on(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """What the client has sent; none of ours is believed from outside, and none goes along."""
    passed = []
    for name, value in headers:
        if name in NOT_PASSED_ON or name.startswith(PREFIX):
            continue
        # The library writes UTF-8, which a value of other bytes would not survive; no header of an API has any.
        with suppress(UnicodeDecodeError):
            passed.append((name.decode("ascii"), value.decode("ascii")))
    return passed


def _answered(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    lowered = ((name.lower(), value) for name, value in headers)
    return [each for each in lowered if each[0] not in OF_A_CONNECTION and not each[0].startswith(PREFIX)]
