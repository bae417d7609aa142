"""The ends of turns on their way to Redis: sent at once, and once more what has failed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from redis import ResponseError

from accounts.limits.counters import CallerCounters
from gateway_project.lib.redis.redis_link import NotSent, RedisLink, RedisUnavailable, Reply, is_unknown

MOST_PUT_OFF: Final = 4096
"""Turns that ended while Redis was away."""
AT_ONCE: Final = 256
"""Of those, so many go along with one request: Redis takes some 20 µs for each."""

Settlement = list[Any]
"""Request, tokens, whether it may have been settled before, when it started, whether Redis has not counted it."""


class Settlements:
    """Those of one process. What is asked on the same link afterwards is counted behind them."""

    def __init__(self, link: RedisLink, on_put_off: Callable[[], None]) -> None:
        """`on_put_off` sees to it that `send_all` is called after a while."""
        self._link = link
        self._on_put_off = on_put_off
        # Bounded: of the oldest, which are dropped then, the places are free after their leases all the same.
        self._put_off: deque[tuple[CallerCounters, Settlement]] = deque(maxlen=MOST_PUT_OFF)
        self.on_way = 0
        """Those that were put off, and are sent once more."""

    @property
    def left(self) -> int:
        """Turns that have ended and are still to be settled."""
        return len(self._put_off) + self.on_way

    def send(self, counters: CallerCounters, settlement: Settlement, reply: Reply) -> None:
        """In one write with whatever else is sent to Redis in this turn of the loop."""
        try:
            self._link.send_for(reply, counters.settlement.packed(*settlement))
        except RedisUnavailable as exc:
            reply.set_exception(exc)

    def failed(self, counters: CallerCounters, settlement: Settlement, problem: Exception, reply: Reply) -> bool:
        """A settlement has failed. Return whether it is put off until Redis is there; else it is sent once more."""
        if isinstance(problem, ResponseError) and is_unknown(problem):
            # As after a restart of the server. At once, and with its text: nothing is asked before it from now on.
            try:
                self._link.send_for(reply, counters.settlement.packed_with_text(*settlement))
            except RedisUnavailable as exc:
                problem = exc
            else:
                return False
        # One that may have run is marked, so that it is not counted twice.
        if not isinstance(problem, NotSent):
            settlement[2] = "again"
        self.put_off(counters, settlement)
        return True

    def put_off(self, counters: CallerCounters, settlement: Settlement) -> None:
        """It is sent later, behind those that were put off before."""
        self._put_off.append((counters, settlement))
        self._on_put_off()

    def amend(self, counters: CallerCounters, amendment: Settlement) -> None:
        """A turn that has been settled took more, or less."""
        # Behind what was put off: its own settlement may be among it.
        if self._put_off:
            self.put_off(counters, amendment)
        else:
            self._send_late(counters, amendment)

    def send_again(self) -> None:
        """Send some of what was put off, if Redis takes it: a place that has not been given back refuses a request."""
        if self._put_off and self._link.takes_writes:
            for _ in range(min(AT_ONCE, len(self._put_off))):
                self._send_late(*self._put_off.popleft())

    async def send_all(self) -> None:
        """Send what was put off; what fails now is put off again. Raise RedisUnavailable."""
        # With a wait after each part, so that a request in between is not behind thousands of them.
        for _ in range(0, len(self._put_off), AT_ONCE):
            self.send_again()
            await self._link.execute("PING")

    def _send_late(self, counters: CallerCounters, settlement: Settlement) -> None:
        self.on_way += 1
        self.send(counters, settlement, _Late(self, counters, settlement))


class _Late:
    """The reply to a settlement that nobody waits for."""

    __slots__ = ("_counters", "_settlement", "_settlements")

    def __init__(self, settlements: Settlements, counters: CallerCounters, settlement: Settlement) -> None:
        self._settlements = settlements
        self._counters = counters
        self._settlement = settlement

    # As of a Future: the link gives no reply to what is done.
    def done(self) -> bool:
        return False

    def set_result(self, _result: Any, /) -> None:
        self._settlements.on_way -= 1

    def set_exception(self, problem: Exception, /) -> None:
        if self._settlements.failed(self._counters, self._settlement, problem, self):
            self._settlements.on_way -= 1
