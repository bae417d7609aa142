"""What one other process borrows from this one: places, and the turns that run on them for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from bridge.chat.errors import GatewayError, InternalError
from bridge.lingma.dialects.base import LoggedUsage
from bridge.lingma.process.log_tail import LogTail
from bridge.lingma.stream import ReplyStream
from bridge.pool.instances.instance import Instance
from bridge.pool.late_usages import Awaited
from bridge.pool.lease import Lease
from bridge.pool.policy import Line
from bridge.pool.pool import Pool
from bridge.pool.remote import lost
from bridge.siblings.link import Link
from bridge.siblings.messages import (
    CrashCheck,
    CrashResult,
    Demand,
    Ended,
    FromBorrower,
    Grant,
    Hello,
    Image,
    Pieces,
    Question,
    Release,
    Room,
    SignOfLife,
    Snapshot,
    Stop,
    Uploaded,
    Usage,
    failure_of,
    pack_pieces,
)

logger = logging.getLogger(__name__)

NOTHING = Demand(0, 0, Line(0, 0))


class Loan(msgspec.Struct):
    """A place that is lent, and what runs on it."""

    lease: Lease
    instance: Instance
    turns: dict[int, tuple[ReplyStream, asyncio.Task[None]]]


class Lender:
    """One connection from a process that borrows. When its link is lost, what was lent is free at once."""

    def __init__(self, pool: Pool, greeted: Callable[[int], None], changed: Callable[[], None]) -> None:
        self.link = Link(FromBorrower, self._receive)
        self.loans: dict[int, Loan] = {}
        self.reported_full = False
        """The other process believes that no place is free here."""
        self._pool = pool
        self._greeted = greeted
        self._changed = changed
        """Called when more is demanded, and when something has come back."""
        self._demand = NOTHING
        self._granted = 0
        self._leases = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        # What is lent lives as long as the connection: a process that is killed gives everything back by that.
        self.link.lost.add_done_callback(self._on_lost)
        self._handlers: dict[type, Callable[[Any], None]] = {
            Hello: lambda hello: self._greeted(hello.process),
            Demand: self._on_demand,
            Question: self._on_question,
            Stop: self._on_stop,
            Image: self._on_image,
            Release: lambda release: self._release(release.lease),
            CrashCheck: self._on_crash_check,
            SignOfLife: lambda _: None,
        }

    @property
    def wanted(self) -> int:
        """Turns that wait over there and were granted nothing yet."""
        # Grants and demands cross each other on the way. Those that the last demand had not seen are already for some
        # of its turns.
        return self._demand.count - (self._granted - self._demand.seen) if self.link.open else 0

    @property
    def line(self) -> Line:
        """The line that is next over there."""
        return self._demand.line

    def grant(self) -> bool:
        """Give a place for whoever waits there; False when there is none for it."""
        # The pool decides by its own line, too: turns of this process with fewer places go first.
        lease = self._pool.lend(self._demand.line)
        if lease is None:
            return False
        self._granted += 1
        self._send_grant(lease)
        return True

    def send_snapshot(self, snapshot: Snapshot) -> None:
        """It is a sign of life, too."""
        # Remembered, so that `send_room` is sent when it matters and not at every release.
        self.reported_full = not snapshot.free
        self.link.send(snapshot)

    def send_room(self, free: int) -> None:
        """There are places again; sent only to a process that believes there are none."""
        if self.reported_full and free:
            self.reported_full = False
            self.link.send(Room(free))

    def _receive(self, message: msgspec.Struct) -> None:
        self._handlers[type(message)](message)

    def _on_demand(self, demand: Demand) -> None:
        self._demand = demand
        self._changed()

    def _send_grant(self, lease: Lease) -> None:
        instance = lease.instance
        # Otherwise a place could travel in circles, and each hop would cost every chunk.
        assert isinstance(instance, Instance)  # noqa: S101 - what was borrowed is not lent
        self._leases += 1
        self.loans[self._leases] = Loan(lease, instance, {})
        free = self._pool.free
        self.reported_full = not free
        self.link.send(Grant(self._leases, instance.name, instance.generation, free))

    def _on_question(self, question: Question) -> None:
        loan = self.loans.get(question.lease)
        try:
            if loan is None:
                raise lost()
            turn = loan.instance.ask(question.ask)
        except GatewayError as exc:
            self.link.send(Ended(question.turn, failure=failure_of(exc)))
            return
        # The other process may stop reading; the turn's own bound then ends it here.
        turn.overflow = lambda: loan.instance.give_up(turn)
        loan.turns[question.turn] = turn, self._start(self._run(question.turn, loan, turn))

    def _on_stop(self, stop: Stop) -> None:
        for loan in self.loans.values():
            if stop.turn in loan.turns:
                self._stop(loan, stop.turn)
                return

    def _on_image(self, image: Image) -> None:
        if (loan := self.loans.get(image.lease)) is not None:
            self._start(self._upload(image, loan))
        else:
            # Always an answer: the other side waits for one until its time limit.
            self.link.send(Uploaded(image.number, "", failure_of(lost())))

    def _on_crash_check(self, check: CrashCheck) -> None:
        self._start(self._check_crash(check))

    def _release(self, number: int) -> None:
        if (loan := self.loans.pop(number, None)) is None:
            return
        # Turns end before the place is given on, or the instance would have one more than its limit.
        for turn in list(loan.turns):
            self._stop(loan, turn)
        loan.lease.release()
        self._changed()

    def _on_lost(self, _: asyncio.Future[None]) -> None:
        for number in list(self.loans):
            self._release(number)
        for task in self._tasks:
            task.cancel()

    def _start(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = self._loop.create_task(work)
        # The loop keeps weak references to tasks only.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _stop(self, loan: Loan, number: int) -> None:
        """Nobody wants the rest of this turn."""
        # Out of the table first: the task ends by cancellation and must not report an end that nobody wants.
        turn, task = loan.turns.pop(number)
        task.cancel()
        # A turn that has ended needs no stop.
        if turn.end is None:
            loan.instance.give_up(turn)
        self._send_late(number, loan, turn)

    async def _run(self, number: int, loan: Loan, turn: ReplyStream) -> None:
        """Pass on what comes, and how it ends."""
        try:
            await self._pass_on(number, turn)
        except Exception as exc:  # an edge: whatever breaks, the turn gets its one ending
            logger.exception("a turn of another process broke")
            turn.fail(InternalError(f"The gateway failed; its log says why ({type(exc).__name__})."))
        # `_stop` may have taken it out before.
        loan.turns.pop(number, None)
        end, log = turn.end, loan.instance.log
        if end is None or end.error is not None:
            error = end.error if end is not None and end.error is not None else lost()
            self.link.send(Ended(number, failure=failure_of(error), may_come=_may_come(log)))
            self._send_late(number, loan, turn)  # it has cost tokens too
            return
        # With the end if they are there already, so that the client need not wait for a second message.
        usage = log.usage(turn.request_id) if log is not None else None
        late = usage is None and log is not None and log.worth_waiting
        self.link.send(Ended(number, end.session_id, usage=usage, late=late, may_come=_may_come(log)))
        if late and log is not None:
            usage = await log.wait_for(turn.request_id)
            self.link.send(Usage(number, usage))
        if usage is None:
            self._send_late(number, loan, turn)

    def _send_late(self, number: int, loan: Loan, turn: ReplyStream) -> None:
        """What the service has logged of it, should that still come."""
        if (log := loan.instance.log) is not None and log.may_come:
            id_, send = turn.request_id, self.link.send
            self._pool.late_usages.expect(
                Awaited(log, [id_], is_own=False), lambda *tokens: send(Usage(number, LoggedUsage(id_, *tokens)))
            )

    async def _pass_on(self, number: int, turn: ReplyStream) -> None:
        """Until the turn has ended. While the other process is behind, the turn's own bound holds."""
        link = self.link
        while True:
            pieces = pack_pieces(await turn.drain())
            # Decisions can come without a piece, and go along before the end.
            if pieces or turn.decisions:
                link.send(Pieces(number, pieces, turn.decisions.copy()))
                turn.decisions.clear()
            if turn.end is not None:
                return
            if link.is_behind:
                # Not reading the turn is the brake: its buffer fills, and its own bound applies.
                await link.room()

    async def _check_crash(self, check: CrashCheck) -> None:
        ended = None
        for instance in self._pool.named(check.name):
            ended = await instance.exit_of(check.generation) or ended
        self.link.send(CrashResult(check.number, ended))

    async def _upload(self, image: Image, loan: Loan) -> None:
        try:
            url = await loan.instance.upload_image(image.data_uri)
        except GatewayError as exc:
            self.link.send(Uploaded(image.number, "", failure_of(exc)))
        else:
            self.link.send(Uploaded(image.number, url))


def _may_come(log: LogTail | None) -> bool:
    """Figures may still come into it."""
    return log is not None and log.may_come
