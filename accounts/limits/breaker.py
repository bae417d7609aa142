"""Redis as the limits need it: an answer at once, or none."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from redis import ResponseError

from gateway_project.lib import degraded
from gateway_project.lib.redis.redis_link import RedisLink, RedisUnavailable, Script, is_unknown

SLOW_SEC: Final = 0.05
TICK_SEC: Final = SLOW_SEC / 2
LATE_SEC: Final = TICK_SEC / 2
# An answer that takes more ticks of 25 ms than these is slow; one that takes more than SILENT_TICKS, 0.15 s, does not
# come.
SLOW_TICKS: Final = 2
SILENT_TICKS: Final = 5
LASTING_SEC: Final = 1.0
"""So long every answer must have been slow."""
PROBE_SEC: Final = 0.5
STEADY: Final = 2
"""Probes in a row that must be answered in time before Redis is asked again."""
PART: Final = "limits"


class TooSlow(RedisUnavailable):
    """Redis does not answer, or every answer takes too long. Whether a command ran is unknown."""


class Breaker:
    """
    Runs scripts as long as Redis answers within SLOW_SEC; else nothing is asked until it is quick again.

    It is given up when all answers of a second were slow, or one does not come at all: a single late one, as on a
    machine that is busy for a moment, is waited for, because counting without Redis is not exact. Time is counted by
    ticks of this process's loop. A tick that comes late does not count: it says that this process had no time.
    """

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._waiting: deque[tuple[asyncio.Future[Any], int]] = deque()
        """Answers that are awaited, each with how many ticks there had been when it was asked for."""
        self._ticks = 0
        """Those that came on time."""
        self._slow_since = 0.0
        """0 while the last answer was quick."""
        self._next_tick = 0.0
        self._ticking = False
        self._probing: asyncio.Task[None] | None = None
        self.is_open = False

    def send(self, packed: bytes) -> asyncio.Future[Any]:
        """A call of a script that is packed already; await the reply. Raise RedisUnavailable, or ResponseError.

        No coroutine: each request of a limited key waits for one of these.
        """
        if self.is_open:
            raise TooSlow("Redis is too slow")
        reply = self._link.send(packed)
        if self._link.available:  # else it is being dialled, which has a deadline of its own
            self._waiting.append((reply, self._ticks))
            if not self._ticking:
                self._ticking = True
                self._tick_later()
        return reply

    async def send_again(self, packed: bytes, scripts: Sequence[Script], problem: ResponseError) -> Any:
        """The reply to the same call, if the server did not know the script; else raise the problem."""
        if not is_unknown(problem):
            raise problem
        for script in scripts:
            await self._link.execute("SCRIPT", "LOAD", script.text)
        return await self.send(packed)

    def _tick_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._next_tick = loop.time() + TICK_SEC
        loop.call_later(TICK_SEC, self._tick)

    def _tick(self) -> None:
        now = asyncio.get_running_loop().time()
        waiting = self._waiting
        # Only from the front: replies come in order.
        while waiting and waiting[0][0].done():
            reply, asked_at = waiting.popleft()
            if self._ticks - asked_at <= SLOW_TICKS and not reply.cancelled():
                self._slow_since = 0.0
        self._ticks += now - self._next_tick < LATE_SEC
        # The one in front has waited for longest.
        if waiting and (waited := self._ticks - waiting[0][1]) > SLOW_TICKS:
            self._slow_since = self._slow_since or now
            if waited > SILENT_TICKS or now - self._slow_since > LASTING_SEC:
                self._open()
        if waiting:
            self._tick_later()
        else:
            self._ticking = False

    def _open(self) -> None:
        degraded.begin(PART, f"Redis takes longer than {SLOW_SEC * 1000:g} ms")
        self.is_open, self._slow_since = True, 0.0
        for reply, _ in self._waiting:
            if not reply.done():
                reply.set_exception(TooSlow("no answer in time"))
        if self._probing is None or self._probing.done():
            self._probing = asyncio.get_running_loop().create_task(self._probe())

    async def _probe(self) -> None:
        steady = 0
        while steady < STEADY:
            await asyncio.sleep(PROBE_SEC)
            steady = steady + 1 if self._link.available and await self._is_quick() else 0
        self.is_open = False
        degraded.end(PART)

    async def _is_quick(self) -> bool:
        asked_at = asyncio.get_running_loop().time()
        try:
            await self._link.execute("PING")
        except (RedisUnavailable, ResponseError):
            return False
        return asyncio.get_running_loop().time() - asked_at <= SLOW_SEC
