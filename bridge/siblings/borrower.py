"""What this process borrows from one other: places, and the turns that run on them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from bridge.chat.errors import UpstreamFailed
from bridge.lingma.dialects.base import Ask, Model
from bridge.lingma.stream import ReplyStream
from bridge.pool.lease import Waiter
from bridge.pool.policy import Affinity, Line
from bridge.pool.pool import Pool
from bridge.pool.remote import RemoteInstance, RemoteLog, lost, put
from bridge.siblings.link import Link
from bridge.siblings.messages import (
    Borrow,
    CrashCheck,
    CrashResult,
    Demand,
    Ended,
    FromLender,
    Grant,
    Hello,
    Image,
    News,
    Pieces,
    Question,
    Refusal,
    Release,
    Room,
    Stop,
    Uploaded,
    Usage,
    error_of,
    piece_of,
)
from bridge.status.instance import InstanceStatus
from bridge.status.states import InstanceState

ANSWER_SEC = 0.3
"""Until a process is not waited for that holds the session of a turn: telling it anew takes longer than this."""


class Borrower:
    """One connection to a process that lends. It is over when its link is lost: then everything borrowed is, too."""

    def __init__(self, pool: Pool, process: int, changed: Callable[[], None]) -> None:
        self.instances: list[InstanceStatus] = []
        self.models: list[Model] = []
        self.free = 0
        """Places that are free there, as it told last."""
        self._pool = pool
        self._changed = changed
        self._holds: dict[Affinity, InstanceStatus] = {}
        self._granted = 0
        self._demanded: Demand | None = None
        self._numbers = 0
        self._asked: dict[int, Waiter] = {}
        self._turns: dict[int, tuple[ReplyStream, RemoteLog]] = {}
        self._late: dict[int, tuple[ReplyStream, RemoteLog]] = {}
        self._numbers_of: dict[ReplyStream, int] = {}
        self._images: dict[int, asyncio.Future[str]] = {}
        self._crash_checks: dict[int, asyncio.Future[bool]] = {}
        self._loop = asyncio.get_running_loop()
        self._handlers: dict[type, Callable[[Any], None]] = {
            News: self._on_news,
            Room: self._on_room,
            Grant: self._on_grant,
            Refusal: self._on_refusal,
            Pieces: self._on_pieces,
            Ended: self._on_ended,
            Usage: self._on_usage,
            Uploaded: self._on_uploaded,
            CrashResult: self._on_crash_result,
        }
        self.link = Link(FromLender, self._hear)
        self._hello = Hello(process)

    # -- what the siblings ask ----------------------------------------------------------------------------------

    def begin(self) -> None:
        """The link is open."""
        self.link.send(self._hello)
        self.link.lost.add_done_callback(self._on_lost)

    def holds(self, affinity: Affinity) -> bool:
        """The instance is there, ready, and still in the run that made the session."""
        return affinity in self._holds

    @property
    def ready(self) -> bool:
        """An instance there can take turns."""
        return bool(self._holds)

    def demand(self, count: int, line: Line) -> None:
        """Tell how many turns wait, where that is news."""
        demand = Demand(count, self._granted, line)
        if demand == self._demanded or (not count and (self._demanded is None or not self._demanded.count)):
            return
        self._demanded = demand
        self.link.send(demand)

    def borrow(self, waiter: Waiter, affinity: Affinity) -> bool:
        """Ask for a place on the instance that holds the session; whether it could be asked."""
        number = self._next()
        if not self.link.send(Borrow(number, affinity.name, affinity.generation)):
            return False
        self._asked[number] = waiter
        self._loop.call_later(ANSWER_SEC, self._refused, number)
        return True

    def end_turns(self, why: str) -> None:
        """Fail every turn that runs there."""
        for turn, _ in list(self._turns.values()):
            turn.fail(UpstreamFailed(why))
        for number in list(self._asked):
            self._refused(number)

    # -- what a remote instance asks ----------------------------------------------------------------------------

    def ask(self, lease: int, turn: ReplyStream, ask: Ask, log: RemoteLog) -> bool:
        """Send a question. Raise ConnectionLost when the process is gone."""
        if not self.link.open:
            raise lost()
        number = self._next()
        if not self.link.send(Question(lease, number, ask)):
            return False
        self._turns[number] = turn, log
        self._numbers_of[turn] = number
        turn.closed = self._forget
        return True

    def upload(self, lease: int, data_uri: str) -> asyncio.Future[str] | None:
        """Hand over an image; its URL, or None when it could not be sent."""
        number = self._next()
        if not self.link.send(Image(lease, number, data_uri)):
            return None
        uploaded: asyncio.Future[str] = self._loop.create_future()
        self._images[number] = uploaded
        uploaded.add_done_callback(lambda _: self._images.pop(number, None))
        return uploaded

    def crashed(self, affinity: Affinity) -> asyncio.Future[bool]:
        """Whether that run of an instance has ended by itself; of a process that is gone nobody can say so."""
        number = self._next()
        result: asyncio.Future[bool] = self._loop.create_future()
        if self.link.send(CrashCheck(number, affinity.name, affinity.generation)):
            self._crash_checks[number] = result
            result.add_done_callback(lambda _: self._crash_checks.pop(number, None))
        else:
            result.set_result(False)
        return result

    def release(self, lease: int) -> None:
        """Give a place back."""
        self.link.send(Release(lease))

    # -- what the other process says ------------------------------------------------------------------------------

    def _hear(self, message: msgspec.Struct) -> None:
        self._handlers[type(message)](message)

    def _on_news(self, news: News) -> None:
        before = set(self._holds), self.models
        self.instances, self.models, self.free = news.instances, news.models, news.free
        self._holds = {
            Affinity(each.name, each.generation): each for each in news.instances if each.state is InstanceState.READY
        }
        if (set(self._holds), self.models) != before:
            self._changed()

    def _on_room(self, room: Room) -> None:
        self.free = room.free

    def _on_grant(self, grant: Grant) -> None:
        self.free = grant.free
        waiter = self._asked.pop(grant.number, None)
        if not grant.number:
            self._granted += 1
        affinity = Affinity(grant.name, grant.generation)
        names = self._holds[affinity].model_names if affinity in self._holds else self._pool.model_names()
        instance = RemoteInstance(self, grant.lease, affinity, names, self._pool.turn_limits, self._pool.pulse)
        if not self._pool.take_in(instance, waiter):
            self.release(grant.lease)

    def _on_refusal(self, refusal: Refusal) -> None:
        self.free = refusal.free
        self._refused(refusal.number)

    def _refused(self, number: int) -> None:
        """The turn goes where there is a place, or waits like others."""
        if (waiter := self._asked.pop(number, None)) is not None:
            self._pool.line_up(waiter)

    def _on_pieces(self, pieces: Pieces) -> None:
        if (running := self._turns.get(pieces.turn)) is None:
            return
        turn = running[0]
        turn.decisions += pieces.decisions
        for told in pieces.told:
            put(turn, piece_of(told))

    def _on_ended(self, ended: Ended) -> None:
        if (running := self._turns.get(ended.turn)) is None:
            return
        turn, log = running
        turn.closed = None
        del self._turns[ended.turn], self._numbers_of[turn]
        if ended.failure is not None:
            turn.fail(error_of(ended.failure))
            return
        if ended.late:
            log.expect(turn.request_id)
            self._late[ended.turn] = running
        else:
            log.keep(turn.request_id, ended.usage)
        turn.finish(ended.session_id, "")

    def _on_usage(self, usage: Usage) -> None:
        if (running := self._late.pop(usage.turn, None)) is not None:
            turn, log = running
            log.keep(turn.request_id, usage.usage)

    def _on_uploaded(self, uploaded: Uploaded) -> None:
        future = self._images.get(uploaded.number)
        if future is None or future.done():
            return
        if uploaded.failure is None:
            future.set_result(uploaded.url)
        else:
            future.set_exception(error_of(uploaded.failure))

    def _on_crash_result(self, result: CrashResult) -> None:
        future = self._crash_checks.get(result.number)
        if future is not None and not future.done():
            future.set_result(result.crashed)

    def _on_lost(self, _: asyncio.Future[None]) -> None:
        """The process is gone, and with it what ran on its instances."""
        self.instances, self.models, self.free, self._holds = [], [], 0, {}
        for turn, _log in list(self._turns.values()):
            turn.fail(lost())
        for turn, log in self._late.values():
            log.keep(turn.request_id, None)
        for future in list(self._images.values()):
            if not future.done():
                future.set_exception(lost())  # the turn is asked again, with its image
        for result in list(self._crash_checks.values()):
            if not result.done():
                result.set_result(False)
        for number in list(self._asked):
            self._refused(number)
        self._changed()

    def _forget(self, turn: ReplyStream) -> None:
        """The turn has ended here."""
        number = self._numbers_of.pop(turn)
        del self._turns[number]
        self.link.send(Stop(number))

    def _next(self) -> int:
        self._numbers += 1
        return self._numbers
