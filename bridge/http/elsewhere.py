"""A request handed over to the web process that holds its session: sent on as it came, answered as that one answers."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from bridge.chat.errors import ConnectionLost, GatewayError, InternalError
from bridge.http.base import Headers
from bridge.peers.handover import FAILED, PREFIX, TAKEN, TURN, HandOver, encoded
from bridge.pool.policy import Affinity
from bridge.siblings.messages import Failure, error_of, failure_of
from bridge.telemetry import metrics
from bridge.wire import sse
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
OK: Final = 200
EVENTS: Final = "text/event-stream"
LARGEST_FAILURE: Final = 16 << 10
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

    @property
    def has_room_for_doubt(self) -> bool:
        return self._peers.has_any_room

    async def run(self, found: Found | None, left: float, signs: int = 0, exits: int | None = None) -> bool:
        """See `bridge.turn.elsewhere`."""
        peers = self._peers
        if found is not None:
            peer = await peers.find(Affinity(found.instance, found.generation))
        else:
            peer = peers.roomiest(of_all=exits is not None)
        if peer is None:
            return False
        response: aiohttp.ClientResponse | None = None
        outcome = "lost"
        peers.asked.add(self)
        try:
            response = await self._ask(peer, self._consumer.hand_over(found, peers.name, signs, exits, left))
            if response is None or TAKEN.decode() not in response.headers:
                outcome = "declined" if response is not None else "lost"
                return False
            outcome = "taken"
            return await self._pass_on(peer, response)
        finally:
            peers.asked.discard(self)
            metrics.HANDED_OVER.labels(outcome).inc()
            if not self.taken:
                self._consumer.not_given_away()
            # By then it is at its end, or nobody wants the rest: to hang up stops the turn there.
            if response is not None:
                response.close()

    def end(self, error: GatewayError) -> None:
        self._consumer.end_with(error)

    async def _ask(self, peer: Peer, hand_over: HandOver) -> aiohttp.ClientResponse | None:
        """The head of the answer, with something of the reply behind it; None when the process is gone.

        It may take as long as a turn takes. Meanwhile the client gets signs of life from here, so that the turn can
        still be asked elsewhere.
        """
        consumer = self._consumer
        headers = _passed_on(consumer.scope["headers"])
        headers.append((TURN.decode(), encoded(hand_over)))
        path = consumer.endpoint
        work = self._peers.client.post(peer.report, path, headers, self._body)
        asking = asyncio.get_running_loop().create_task(work)
        kept: aiohttp.ClientResponse | None = None
        try:
            # No deadline: as long as its process reports, a turn may take what it takes.
            pause, both = consumer.runtime.engine.options.keepalive_sec, (asking, peer.gone)
            while not (await asyncio.wait(both, timeout=pause, return_when=asyncio.FIRST_COMPLETED))[0]:
                await consumer.sign_of_life()
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
        if consumer.request.stream:
            self._take(response)
            # The status is out, with signs of life: the end of the stream tells it.
            if consumer.begun and response.status != OK:
                raise failure_in(response.headers.get(FAILED.decode(), ""))
        hang_up = lambda _: response.close()  # noqa: E731
        peer.gone.add_done_callback(hang_up)
        try:
            if consumer.request.stream:
                last = await self._pass_stream_on(response)
            else:
                last = await response.read()
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
        await consumer.send_last(last)
        return True

    async def _pass_stream_on(self, response: aiohttp.ClientResponse) -> bytes:
        """All of it but what is returned, which is its end."""
        consumer, events = self._consumer, sse.WholeEvents()
        # An error that has to follow is never read if it stands amid an event.
        is_events = response.content_type == EVENTS
        try:
            if not consumer.begun:
                await consumer.start_as(response.status, _answered(response.raw_headers))
            async for part in response.content.iter_any():
                if ready := events.feed(part) if is_events else part:
                    await consumer.send_part(ready, last=False)
        except BaseException:
            if response.status == OK:
                consumer.passed_on(events.count)
            raise
        return events.rest

    def _take(self, response: aiohttp.ClientResponse) -> None:
        self.taken = True
        self._consumer.given_away(response.headers.get("x-lingma-instance", ""))


def failure_header(error: GatewayError) -> tuple[bytes, bytes]:
    """The error for the process that has the client."""
    encoded_ = base64.b64encode(msgspec.json.encode(failure_of(error)))
    return FAILED, encoded_ if len(encoded_) <= LARGEST_FAILURE else b""


def failure_in(header: str) -> GatewayError:
    try:
        return error_of(msgspec.json.decode(base64.b64decode(header), type=Failure))
    except (binascii.Error, msgspec.MsgspecError):  # of another version
        return InternalError("The turn has failed in another process.")


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
