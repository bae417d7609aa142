"""The turns of this process that run on instances of one other, and what else was asked of it for them."""

from __future__ import annotations

import asyncio
from itertools import count

from bridge.chat.errors import UpstreamFailed
from bridge.lingma.dialects.base import Ask
from bridge.lingma.stream import ReplyStream
from bridge.pool.instances.runs import Exit
from bridge.pool.policy import Affinity
from bridge.pool.remote import RemoteLog, lost, put
from bridge.siblings.link import Link
from bridge.siblings.messages import (
    CrashCheck,
    CrashResult,
    Ended,
    Image,
    Pieces,
    Question,
    Release,
    Stop,
    Uploaded,
    Usage,
    error_of,
    unpack_piece,
)

Running = tuple[ReplyStream, RemoteLog]

MOST_LATE = 4096
"""Turns that have ended and whose figures may still come; those that ended first give way."""


class BorrowedTurns:
    """What a `RemoteInstance` asks. All of it ends with the link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._numbers = count(1)
        self._running: dict[int, Running] = {}
        self._late: dict[int, tuple[str, RemoteLog]] = {}
        """They have ended, and their figures may still come: their request ids, and who waits for the figures."""
        self._numbers_of: dict[ReplyStream, int] = {}
        self._images: dict[int, asyncio.Future[str]] = {}
        self._crash_checks: dict[int, asyncio.Future[Exit | None]] = {}
        self._loop = asyncio.get_running_loop()

    def ask(self, lease: int, turn: ReplyStream, ask: Ask, log: RemoteLog) -> bool:
        """Send a question; whether it could be sent. Raise ConnectionLost when the process is gone."""
        if not self._link.open:
            raise lost()
        number = next(self._numbers)
        if not self._link.send(Question(lease, number, ask)):
            return False
        # After the send and still safe: the answer cannot be read before this function returns to the loop.
        self._running[number] = turn, log
        self._numbers_of[turn] = number
        turn.closed = self._forget
        return True

    def upload(self, lease: int, data_uri: str) -> asyncio.Future[str] | None:
        """Hand over an image; its URL, or None when it could not be sent."""
        number = next(self._numbers)
        if not self._link.send(Image(lease, number, data_uri)):
            return None
        uploaded: asyncio.Future[str] = self._loop.create_future()
        self._images[number] = uploaded
        # Also when the caller's time limit cancels it.
        uploaded.add_done_callback(lambda _: self._images.pop(number, None))
        return uploaded

    def exit_of(self, affinity: Affinity) -> asyncio.Future[Exit | None]:
        """How that run of an instance has ended by itself; of a process that is gone nobody can say so."""
        number = next(self._numbers)
        result: asyncio.Future[Exit | None] = self._loop.create_future()
        if self._link.send(CrashCheck(number, affinity.name, affinity.generation)):
            self._crash_checks[number] = result
            result.add_done_callback(lambda _: self._crash_checks.pop(number, None))
        else:
            # A process that is gone cannot answer; the turn is asked again as after any lost connection.
            result.set_result(None)
        return result

    def release(self, lease: int) -> None:
        self._link.send(Release(lease))

    def fail(self, why: str) -> None:
        """End every turn that runs there."""
        for turn, _ in list(self._running.values()):
            turn.fail(UpstreamFailed(why))

    def lose(self) -> None:
        """The process is gone, and with it what ran on its instances."""
        # A copy: each turn that fails takes itself out (`_forget`).
        for turn, _log in list(self._running.values()):
            turn.fail(lost())
        for request_id, log in self._late.values():
            log.store(request_id, None)
        self._late.clear()
        for future in list(self._images.values()):
            if not future.done():
                future.set_exception(lost())  # the turn is asked again, with its image
        for result in list(self._crash_checks.values()):
            if not result.done():
                result.set_result(None)

    def on_pieces(self, pieces: Pieces) -> None:
        if (running := self._running.get(pieces.turn)) is None:
            return
        turn = running[0]
        # Before the pieces: reading them may end the wait of whoever answers the client.
        turn.decisions += pieces.decisions
        for packed in pieces.pieces:
            put(turn, unpack_piece(packed))

    def on_ended(self, ended: Ended) -> None:
        if (running := self._running.get(ended.turn)) is None:
            return
        turn, log = running
        # It has ended there, so `_forget` need not send a stop for it.
        turn.closed = None
        del self._running[ended.turn], self._numbers_of[turn]
        log.may_come = ended.may_come
        if ended.failure is not None:
            self._figures_may_come(ended.turn, turn, log)
            turn.fail(error_of(ended.failure))
            return
        # Before `finish`: whoever answers the client asks for the figures as soon as the turn has ended.
        if ended.late:
            log.expect(turn.request_id)
        else:
            log.store(turn.request_id, ended.usage)
        if ended.usage is None:
            self._figures_may_come(ended.turn, turn, log)
        turn.finish(ended.session_id, "")

    def on_usage(self, usage: Usage) -> None:
        # None is no last word: they may still come, when nobody waits any more.
        late = self._late.get(usage.turn) if usage.usage is None else self._late.pop(usage.turn, None)
        if late is not None:
            request_id, log = late
            log.store(request_id, usage.usage)

    def on_uploaded(self, uploaded: Uploaded) -> None:
        future = self._images.get(uploaded.number)
        if future is None or future.done():
            return
        if uploaded.failure is None:
            future.set_result(uploaded.url)
        else:
            future.set_exception(error_of(uploaded.failure))

    def on_crash_result(self, result: CrashResult) -> None:
        future = self._crash_checks.get(result.number)
        if future is not None and not future.done():
            future.set_result(result.exit)

    def _forget(self, turn: ReplyStream) -> None:
        number = self._numbers_of.pop(turn)
        _, log = self._running.pop(number)
        self._figures_may_come(number, turn, log)
        # Whatever the reason is (a client that left, a failure here), the service must stop working on it.
        self._link.send(Stop(number))

    def _figures_may_come(self, number: int, turn: ReplyStream, log: RemoteLog) -> None:
        self._late[number] = turn.request_id, log
        if len(self._late) > MOST_LATE:
            del self._late[next(iter(self._late))]
