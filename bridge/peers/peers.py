"""The other web processes of this gateway: who is there, and who holds which session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from redis import ResponseError

from bridge.chat.errors import GatewayError, UpstreamFailed
from bridge.fleet.place_exchange import EXCHANGE
from bridge.peers import report as reports
from bridge.peers.client import PeerClient
from bridge.peers.report import PeerReport
from bridge.pool.policy import Affinity
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_link import RedisLink, RedisUnavailable

EVERY_SEC: Final = 1.0
LOOK_SEC: Final = 0.1
SILENCE_SEC: Final = 10.0
"""A process that has not reported for so long hangs or is dead: what was handed over to it is lost."""


class Peer:
    """Another web process, since one start of it."""

    def __init__(self, report: PeerReport, seen_at: float) -> None:
        self.report = report
        self.seen_at = seen_at
        self.free = report.free
        """Places it has for others, less those that were asked for since its report."""
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Resolved when it is."""

    def go(self) -> None:
        """Nobody waits for it any more."""
        if not self.gone.done():
            self.gone.set_result(None)


class Asked(Protocol):
    """A turn of this process that another one runs, or is asked to."""

    def end(self, error: GatewayError) -> None:
        """Tell the client so, and let go of it there."""


class Peers:
    """`follow()` exchanges reports each second. While Redis is away what was known last is known still."""

    def __init__(
        self, link: RedisLink, client: PeerClient, own: Callable[[], PeerReport], silence_sec: float = SILENCE_SEC
    ) -> None:
        self.client = client
        self.asked: set[Asked] = set()
        """Whoever asks another process puts himself in here meanwhile."""
        self._link = link
        self._own = own
        self._silence_sec = silence_sec
        self._peers: dict[str, Peer] = {}
        self._holders: dict[Affinity, Peer] = {}
        self._others: list[Peer] = []
        """Those of other machines. Within one machine processes lend each other places."""
        self._all: list[Peer] = []
        self._changed = asyncio.Event()
        self._is_blind = False
        """Redis was away at the last exchange, or there was none for a while."""
        self._looked_at = -LOOK_SEC
        self._loop = asyncio.get_running_loop()

    @property
    def name(self) -> str:
        """Of this process."""
        return self._own().name

    @property
    def known(self) -> list[PeerReport]:
        """What the others have reported last."""
        return [peer.report for peer in self._peers.values()]

    def holder(self, affinity: Affinity) -> Peer | None:
        """The process whose instance holds that session, if it is another one and can be reached."""
        return self._holders.get(affinity)

    async def find(self, affinity: Affinity) -> Peer | None:
        """The same, after a look at the latest reports where nobody was known to hold it."""
        peer = self._holders.get(affinity)
        # What nobody holds any more is asked for, too: not with each turn.
        if peer is None and self._loop.time() - self._looked_at >= LOOK_SEC:
            await self.exchange()
            peer = self._holders.get(affinity)
        return peer

    @property
    def has_room(self) -> bool:
        """A process of another machine has a free place, as far as is known."""
        return any(peer.free > 0 for peer in self._others)

    @property
    def take_turns(self) -> bool:
        """Another machine does, if it has a free place or not."""
        return any(peer.report.instances for peer in self._others)

    @property
    def has_any_room(self) -> bool:
        """So has a process of this machine, or of another."""
        return any(peer.free > 0 for peer in self._all)

    def roomiest(self, *, of_all: bool = False) -> Peer | None:
        """The process of another machine that has most of them; None when there is none. One of them is taken.

        `of_all`: also of this machine.
        """
        peer = max(self._all if of_all else self._others, key=lambda each: each.free, default=None)
        if peer is None or peer.free <= 0:
            return None
        peer.free -= 1
        return peer

    def end_turns(self, why: str) -> None:
        """Fail every turn of this process that another one runs."""
        for each in list(self.asked):
            each.end(UpstreamFailed(why))

    def instances_changed(self) -> None:
        """Report soon."""
        self._changed.set()

    async def follow(self) -> None:
        try:
            while True:
                self._changed.clear()
                await self.exchange()
                with suppress(TimeoutError):
                    async with asyncio.timeout(EVERY_SEC):
                        await self._changed.wait()
        finally:
            await self.client.close()

    async def exchange(self) -> None:
        """Report, and take what the others have reported."""
        now = self._loop.time()
        # Then it was this process that hung, and maybe all did.
        self._is_blind = self._is_blind or now - self._looked_at > 3 * EVERY_SEC
        self._looked_at = now
        own = self._own()
        try:
            found = await self._link.run(EXCHANGE, [redis_keys.PEERS], [own.name, reports.encode(own)])
        except (RedisUnavailable, ResponseError):
            self._is_blind = True
            return
        await self._take([report for each in found if (report := reports.decoded(each)) is not None])

    async def _take(self, found: list[PeerReport]) -> None:
        now = self._loop.time()
        there: list[Peer] = []
        if self._is_blind:
            # Nobody could report meanwhile, and who is there may come back a moment later: silence counts from here.
            self._is_blind = False
            for known in self._peers.values():
                known.seen_at = now
        for report in found:
            peer = self._peers.get(report.name)
            if peer is None or peer.report.run != report.run:
                await self._forget(report.name)
                peer = self._peers[report.name] = Peer(report, now)
            peer.report, peer.seen_at, peer.free = report, now, report.free
            there.append(peer)
        for name in [name for name, peer in self._peers.items() if now - peer.seen_at > self._silence_sec]:
            await self._forget(name)
        # Of those that have reported just now: one that hangs is asked for nothing more.
        there = [peer for peer in there if self.client.reaches(peer.report)]
        self._all = there
        self._others = [peer for peer in there if peer.report.node != self.client.node]
        self._holders = {
            Affinity(name, generation): peer for peer in there for name, generation in peer.report.instances.items()
        }

    async def _forget(self, name: str) -> None:
        if (peer := self._peers.pop(name, None)) is not None:
            # First the sign, then the connections: who waits for an answer must know that none comes.
            peer.go()
            await self.client.forget(peer.report.run)
