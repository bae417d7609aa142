"""Redis as the limits need it: an answer at once, or none."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

from redis import ResponseError

from gateway_project.lib import degraded
from gateway_project.lib.redis_link import RedisLink, RedisUnavailable, Script, is_unknown

SLOW_SEC: Final = 0.05
TICK_SEC: Final = SLOW_SEC / 2
LATE_SEC: Final = TICK_SEC / 2
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


class _Waiting:
    """A reply that is waited for, and how many ticks have seen it wait."""

    __slots__ = ("reply", "ticks")

    def __init__(self, reply: asyncio.Future[Any]) -> None:
        self.reply = reply
        self.ticks = 0


class Breaker:
    """
    Runs scripts as long as Redis answers within SLOW_SEC; else nothing is asked until it is quick again.

    It is given up when all answers of a second were slow, or one does not come at all: a single late one, as on a
    machine that is busy for a moment, is waited for, because counting without Redis is not exact. Time is counted by
    ticks of this process's loop. A tick that comes late does not count: it says that this process had no time.
    """

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._waiting: deque[_Waiting] = deque()
        self._slow_since = 0.0
        """0 while the last answer was quick."""
        self._next_tick = 0.0
        self._ticking = False
        self._probing: asyncio.Task[None] | None = None
        self.is_open = False

    async def call(self, packed: bytes, script: Script) -> Any:
        """The reply to a call of the script that is packed already. Raise RedisUnavailable, or ResponseError."""
        if self.is_open:
            raise TooSlow("Redis is too slow")
        try:
            return await self._answer(self._link.send(packed))
        except ResponseError as exc:
            if not is_unknown(exc):
                raise
            await self._answer(self._link.execute("SCRIPT", "LOAD", script.text))
            return await self._answer(self._link.send(packed))

    async def _answer(self, reply: asyncio.Future[Any]) -> Any:
        waiting = _Waiting(reply)
        if self._link.available:  # else it is being dialled, which has a deadline of its own
            self._waiting.append(waiting)
            if not self._ticking:
                self._ticking = True
                self._tick_later()
        answer = await reply
        if waiting.ticks <= SLOW_TICKS:
            self._slow_since = 0.0
        return answer

    def _tick_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._next_tick = loop.time() + TICK_SEC
        loop.call_later(TICK_SEC, self._tick)

    def _tick(self) -> None:
        now = asyncio.get_running_loop().time()
        waiting, on_time = self._waiting, now - self._next_tick < LATE_SEC
        while waiting and waiting[0].reply.done():
            waiting.popleft()
        for each in waiting:
            each.ticks += on_time
        # The one in front has waited for longest.
        if waiting and waiting[0].ticks > SLOW_TICKS:
            self._slow_since = self._slow_since or now
            if waiting[0].ticks > SILENT_TICKS or now - self._slow_since > LASTING_SEC:
                self._open()
        if waiting:
            self._tick_later()
        else:
            self._ticking = False

    def _open(self) -> None:
        degraded.begin(PART, f"Redis takes longer than {SLOW_SEC * 1000:g} ms")
        self.is_open, self._slow_since = True, 0.0
        for each in self._waiting:
            if not each.reply.done():
                each.reply.set_exception(TooSlow("no answer in time"))
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
