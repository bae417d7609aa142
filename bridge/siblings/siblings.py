"""The other web processes of this gateway: who has a free place lends it to a turn that has none."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from pathlib import Path

from bridge.lingma.dialects.base import Model
from bridge.pool.pool import Pool
from bridge.siblings.borrower import Borrower
from bridge.siblings.lender import Lender
from bridge.siblings.link import Link
from bridge.siblings.messages import SignOfLife, Snapshot
from bridge.status.instance import InstanceStatus
from gateway_project.lib.background import pause
from gateway_project.lib.processes.unix_sockets import socket_path

logger = logging.getLogger(__name__)

EVERY_SEC = 1.0
SILENCE_SEC = 10.0
"""A process that is silent for so long hangs: what it borrowed is free again, what it lent is lost."""


class Siblings:
    """`follow()` keeps the connections; the pool asks the rest of it. Each process both lends and borrows."""

    def __init__(
        self, pool: Pool, process: int, processes: int, directory: Path, silence_sec: float = SILENCE_SEC
    ) -> None:
        self._pool = pool
        self._process = process
        self._others = [number for number in range(1, processes + 1) if number != process]
        self._directory = directory
        self._silence_sec = silence_sec
        self._borrowers: dict[int, Borrower] = {}
        self._lenders: set[Lender] = set()
        # Two connections for each pair of processes, one for each direction of lending: neither side needs to know
        # who began.
        self._greeted = {number: asyncio.Event() for number in self._others}
        self._demanding = False
        self._returned = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    @property
    def ready(self) -> bool:
        return any(borrower.offered.ready for borrower in self._borrowers.values())

    @property
    def free(self) -> int:
        """Places of other processes that are free, as far as is known."""
        return sum(borrower.free for borrower in self._borrowers.values())

    def statuses(self) -> list[InstanceStatus]:
        """The instances of the other processes."""
        return [status for _, borrower in sorted(self._borrowers.items()) for status in borrower.offered.statuses]

    def models(self) -> list[Model]:
        return [model for _, borrower in sorted(self._borrowers.items()) for model in borrower.offered.models]

    def waiting_changed(self) -> None:
        """More or fewer turns wait here than before."""
        # Many turns may join or leave at once: one message for all of them.
        if not self._demanding:
            self._demanding = True
            self._loop.call_soon(self._demand)

    def end_turns(self, why: str) -> None:
        """Fail every turn that runs elsewhere for this process."""
        for borrower in self._borrowers.values():
            borrower.end_turns(why)

    def _demand(self) -> None:
        self._demanding = False
        count, line = self._pool.borrowing, self._pool.next_line()
        for borrower in self._borrowers.values():
            borrower.demand(count, line)

    def serve(self) -> None:
        """Lend free places to those who have turns that wait, first to the key that holds the fewest."""
        while demanding := [lender for lender in self._lenders if lender.wanted > 0]:
            # Nothing for the poorest line means nothing for any other: those come after it.
            if not min(demanding, key=lambda each: (each.line.held, each.line.held_by_team)).grant():
                return
        # Only after all that wait were served: what is free now is really free.
        if any(lender.reported_full for lender in self._lenders) and (free := self._pool.free):
            for lender in self._lenders:
                lender.send_room(free)

    def instances_changed(self) -> None:
        """An instance of this process is in another state."""
        snapshot = self._snapshot()
        for lender in self._lenders:
            lender.send_snapshot(snapshot)

    def _snapshot(self) -> Snapshot:
        pool = self._pool
        # A process that stops shows no instances, so nobody asks it; its models stay for as long as it does.
        return Snapshot(pool.statuses() if pool.lends else [], pool.own_models(), pool.free if pool.lends else 0)

    @property
    def lends(self) -> bool:
        """Other processes use places of this one."""
        return any(lender.loans for lender in self._lenders)

    async def returned(self) -> None:
        while self.lends:
            # No `await` between the look and this line, so no return can slip in between.
            self._returned.clear()
            await self._returned.wait()

    def _lent_changed(self) -> None:
        self._returned.set()
        self.serve()

    async def follow(self) -> None:
        """Listen, stay connected to all others, and send them a snapshot every second, until cancelled."""
        server = await self._listen()
        dialling = [self._loop.create_task(self._stay_connected(number)) for number in self._others]
        try:
            await self._watch_links()
        finally:
            for task in dialling:
                task.cancel()
            if server is not None:
                server.close()
            for link in self._links():
                link.close()

    async def _listen(self) -> asyncio.Server | None:
        try:
            path = socket_path(self._directory, f"web-{self._process}")
            # A socket file outlives a process that was killed.
            path.unlink(missing_ok=True)
            server = await self._loop.create_unix_server(self._accept, str(path))
            # Whoever can connect can use the account.
            path.chmod(0o600)
        # Not fatal: this process serves its own turns, and only lends nothing.
        except OSError as exc:
            logger.warning("other web processes cannot borrow places of this one: %s", exc.strerror)
            return None
        return server

    def _accept(self) -> Link:
        lender = Lender(self._pool, lambda process: self._on_hello(lender, process), self._lent_changed)
        self._lenders.add(lender)
        lender.link.lost.add_done_callback(lambda _: self._lenders.discard(lender))
        return lender.link

    def _on_hello(self, lender: Lender, process: int) -> None:
        # Not when it connects: its transport is not there yet while the protocol is being made.
        lender.send_snapshot(self._snapshot())
        if (greeted := self._greeted.get(process)) is not None:
            greeted.set()

    async def _stay_connected(self, number: int) -> None:
        """A process that starts dials all others, so that they know it is there; else it is looked for now and then."""
        greeted = self._greeted[number]
        while True:
            borrower = Borrower(self._pool, self._process, self._lenders_changed)
            # Before the dial: a greeting that comes during it means that the process is there again.
            greeted.clear()
            with suppress(OSError):
                path = socket_path(self._directory, f"web-{number}")
                async with asyncio.timeout(EVERY_SEC):
                    await self._loop.create_unix_connection(partial(_same, borrower.link), str(path))
                # Hello is the first message, before anything can be demanded over this link.
                borrower.begin()
                self._borrowers[number] = borrower
                self.waiting_changed()
                await asyncio.wait({borrower.link.lost})
                del self._borrowers[number]
            with suppress(TimeoutError):
                # Whoever starts dials us as well, which ends this pause early.
                async with asyncio.timeout(EVERY_SEC):
                    await greeted.wait()

    def _lenders_changed(self) -> None:
        self._pool.siblings_changed()
        self.waiting_changed()

    async def _watch_links(self) -> None:
        while True:
            began = self._loop.time()
            await pause(EVERY_SEC)
            self.instances_changed()
            for borrower in self._borrowers.values():
                borrower.link.send(SignOfLife())
            now = self._loop.time()
            if now - began > 3 * EVERY_SEC:  # it was this process that hung
                continue
            for link in self._links():
                if now - link.received_at > self._silence_sec:
                    link.close()

    def _links(self) -> list[Link]:
        return [borrower.link for borrower in self._borrowers.values()] + [lender.link for lender in self._lenders]


def _same(link: Link) -> Link:
    return link
