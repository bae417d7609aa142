"""The connection of a RedisLink: at most one pipeline in flight, replies in order, a deadline for each."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import Any, Final, Protocol, TypeVar, cast

from hiredis import Reader
from redis import ResponseError

NOT_YET: Final = object()
LATER_SEC: Final = 0.002
"""How long a command that nobody waits for may wait for another one to go along with."""

FULL: Final = ("OOM", "MISCONF", "NOREPLICAS", "BUSY ")
"""It takes no writes now, but still reads."""
ELSEWHERE: Final = (
    "LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK ", "CROSSSLOT", "TRYAGAIN", "NOAUTH", "WRONGPASS",
)  # fmt: skip
"""It is of no use now; another moment, or another server behind the same name, may be."""
OF_A_SCRIPT: Final = re.compile(r"ERR Error running script .*?-([A-Z]{3,} .*)", re.DOTALL)
"""How a server before 7.0 wraps an error that a script met."""


class RedisUnavailable(Exception):
    """Redis cannot be reached, does not answer, or takes no commands now. Whether a command ran is unknown."""


class NotSent(RedisUnavailable):
    """Redis cannot be reached, and the command surely did not run: it never left this process."""


class Reply(Protocol):
    """Takes the answer to a command, as a Future does."""

    def done(self) -> bool:
        """Whether nobody waits any more."""

    def set_result(self, result: Any, /) -> None:
        """The answer."""

    def set_exception(self, problem: Any, /) -> None:
        """ResponseError or RedisUnavailable."""


R = TypeVar("R", bound=Reply)


class Owner(Protocol):
    """The link that a connection belongs to."""

    def lost(self, pipe: Pipe, why: str, *, dead: bool, open_commands: bool) -> None:
        """The connection broke. `dead`: do not dial at once; `open_commands`: somebody waited for an answer."""

    def refused(self, pipe: Pipe, why: str) -> None:
        """The server takes no writes now."""


class Pipe(asyncio.Protocol):
    """One connection. What is issued in one turn of the loop goes out together, the next lot after all replies."""

    def __init__(self, owner: Owner, timeout: float) -> None:
        self._owner = owner
        self.loop = asyncio.get_running_loop()
        self._reader = Reader(replyError=ResponseError, notEnoughData=NOT_YET)
        self._transport: asyncio.Transport | None = None
        self._sent: deque[Reply] = deque()
        self._packed: list[bytes] = []
        self._awaited: list[Reply] = []
        self._half = timeout / 2
        self._flushes_soon = False
        self._flushes_later = False
        self._ticking = False
        self._silent_ticks = 0
        self._broken = ""

    def issue(self, packed: bytes, reply: R) -> R:
        """Send a command as soon as the loop comes round, or with the next pipeline when one is in flight."""
        self.check()
        self._packed.append(packed)
        self._awaited.append(reply)
        if not self._sent and not self._flushes_soon:
            self._flushes_soon = True
            self.loop.call_soon(self._flush_if_idle)  # what else is issued in this turn of the loop goes along
        return reply

    def issue_later(self, packed: bytes, reply: Reply) -> None:
        """Send a command along with the next one, or by itself after LATER_SEC. A write of its own costs 10 µs."""
        self.check()
        self._packed.append(packed)
        self._awaited.append(reply)
        if not self._sent and not self._flushes_later:
            self._flushes_later = True
            self.loop.call_later(LATER_SEC, self._flush_late)

    def hurry(self) -> None:
        """Send now what was to go later."""
        if not self._broken:
            self._flush_if_idle()

    def check(self) -> None:
        """Raise RedisUnavailable when the connection broke."""
        if self._broken:
            raise RedisUnavailable(self._broken)

    def issue_all(self, waiting: list[tuple[bytes, Reply]]) -> None:
        """Send what was issued before there was a connection."""
        self._packed += [packed for packed, _ in waiting]
        self._awaited += [reply for _, reply in waiting]
        if waiting:
            self._flush()

    def abort(self, why: str) -> None:
        """Close the connection at once; every open command fails."""
        if self._transport is not None:
            self._transport.abort()
        self._break(why, dead=True)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Set each reply's result; then send what was issued meanwhile."""
        # Any byte counts: a server that sends a long reply slowly is not silent.
        self._silent_ticks = 0
        reader, sent = self._reader, self._sent
        reader.feed(data)
        while sent and (value := reader.gets()) is not NOT_YET:
            reply = sent.popleft()
            # Tried and not asked for: a Future whose caller was cancelled is rare, and most replies are none. Its
            # answer is dropped: replies have no ids and are matched by their order alone.
            try:
                if type(value) is ResponseError:
                    reply.set_exception(self._classified(value))
                else:
                    reply.set_result(value)
            except asyncio.InvalidStateError:
                continue
        # Only when all replies are in: what came up in the meantime is one write, however much it is.
        if self._packed and not sent:
            self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._break(f"connection lost: {exc or 'the server closed it'}", dead=False)

    def _flush_late(self) -> None:
        self._flushes_later = False
        if self._packed and not self._sent and not self._broken:
            self._flush()

    def _flush_if_idle(self) -> None:
        self._flushes_soon = False
        if self._packed and not self._sent and not self._broken:
            self._flush()

    def _flush(self) -> None:
        packed, self._packed = self._packed, []
        self._sent.extend(self._awaited)
        self._awaited.clear()
        if self._transport is not None:
            self._transport.write(packed[0] if len(packed) == 1 else b"".join(packed))
        # One timer for the connection, not one for each command: thousands of commands a second share it.
        if not self._ticking:
            self._ticking = True
            self._silent_ticks = 0
            self.loop.call_later(self._half, self._tick)

    def _tick(self) -> None:
        # Two silent half-times, so that a loop that was itself late gets a chance to read before it gives up.
        if not self._sent or self._broken:
            self._ticking = False
            return
        self._silent_ticks += 1
        if self._silent_ticks >= 2:
            self.abort(f"no answer within {self._half * 2:g} s")
        else:
            self.loop.call_later(self._half, self._tick)

    def _break(self, why: str, *, dead: bool) -> None:
        # abort() leads to connection_lost() as well: only the first reason counts.
        if self._broken:
            return
        self._broken = why
        open_commands = bool(self._sent or self._awaited)
        for reply in [*self._sent, *self._awaited]:
            if not reply.done():
                reply.set_exception(RedisUnavailable(why))
        self._sent.clear()
        self._awaited.clear()
        self._packed.clear()
        # Last: the owner may dial at once, and this pipe must be empty then.
        self._owner.lost(self, why, dead=dead, open_commands=open_commands)

    def _classified(self, error: ResponseError) -> Exception:
        """Errors of the server, as opposed to those of one command, become RedisUnavailable."""
        text = str(error)
        if of_a_script := OF_A_SCRIPT.match(text):
            text = of_a_script[1]
        if text.startswith(FULL):
            self._owner.refused(self, text)
        elif text.startswith(ELSEWHERE):
            self.loop.call_soon(self.abort, text)  # not in the middle of the replies
        else:
            return error
        return RedisUnavailable(text)
