"""What this process borrows from one other: places, and the turns that run on them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from bridge.pool.policy import Affinity, Line
from bridge.pool.pool import Pool
from bridge.pool.remote import RemoteInstance
from bridge.siblings.borrowed_turns import BorrowedTurns
from bridge.siblings.link import Link
from bridge.siblings.messages import (
    CrashResult,
    Demand,
    Ended,
    FromLender,
    Grant,
    Hello,
    Pieces,
    Room,
    Snapshot,
    Uploaded,
    Usage,
)
from bridge.siblings.offered_instances import OfferedInstances


class Borrower:
    """One connection to a process that lends. It is over when its link is lost: then everything borrowed is, too."""

    def __init__(self, pool: Pool, process: int, changed: Callable[[], None]) -> None:
        self.offered = OfferedInstances()
        self.free = 0
        """Places that are free there, by its last message."""
        self._pool = pool
        self._process = process
        self._changed = changed
        self._granted = 0
        # The last one that was sent: the same is not sent again.
        self._demanded: Demand | None = None
        self.link = Link(FromLender, self._receive)
        self._turns = BorrowedTurns(self.link)
        self._handlers: dict[type, Callable[[Any], None]] = {
            Snapshot: self._on_snapshot,
            Room: self._on_room,
            Grant: self._on_grant,
            Pieces: self._turns.on_pieces,
            Ended: self._turns.on_ended,
            Usage: self._turns.on_usage,
            Uploaded: self._turns.on_uploaded,
            CrashResult: self._turns.on_crash_result,
        }

    def begin(self) -> None:
        self.link.send(Hello(self._process))
        self.link.lost.add_done_callback(self._on_lost)

    def demand(self, waiting: int, line: Line) -> None:
        """Report how many turns wait, if that has changed."""
        demand = Demand(waiting, self._granted, line)
        # Two zeros in a row differ in `line` at most, which matters to nobody then.
        if demand == self._demanded or (not waiting and (self._demanded is None or not self._demanded.count)):
            return
        self._demanded = demand
        self.link.send(demand)

    def end_turns(self, why: str) -> None:
        """Fail every turn that runs there."""
        self._turns.fail(why)

    def _receive(self, message: msgspec.Struct) -> None:
        self._handlers[type(message)](message)

    def _on_snapshot(self, snapshot: Snapshot) -> None:
        self.free = snapshot.free
        # A snapshot comes every second. Only another choice of instances or models concerns the pool.
        if self.offered.update(snapshot):
            self._changed()

    def _on_room(self, room: Room) -> None:
        self.free = room.free

    def _on_grant(self, grant: Grant) -> None:
        self.free = grant.free
        # Counted for `Demand.seen`, so that the lender knows which grants our last demand had seen already.
        self._granted += 1
        affinity = Affinity(grant.name, grant.generation)
        # The instance may have changed its run since the last snapshot; model names rarely differ between instances.
        names = self.offered.model_names(affinity)
        names = self._pool.model_names() if names is None else names
        limits, ticker = self._pool.turn_limits, self._pool.ticker
        instance = RemoteInstance(self._turns, grant.lease, affinity, names, limits, ticker)
        if not self._pool.take_in(instance):
            # Nobody wants it any more: at once, as others may wait for it there.
            self._turns.release(grant.lease)

    def _on_lost(self, _: asyncio.Future[None]) -> None:
        """The process is gone, and with it what ran on its instances."""
        self.offered, self.free = OfferedInstances(), 0
        # State first, then turns: they look for another place at once, and must not find this process.
        self._turns.lose()
        self._changed()
