"""Turns that have ended before the service had logged what they cost; it may still do so."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, Protocol

import msgspec

from bridge.lingma.dialects.base import LoggedUsage
from bridge.telemetry import metrics
from gateway_project.lib.ticker import Ticker

WAIT_SEC: Final = 60.0
EVERY_SEC: Final = 1.0
MOST: Final = 4096
"""Turns that are waited for at once; the one that has ended first gives way."""

Amend = Callable[[int, int], object]
"""Called with the prompt and completion tokens of the whole turn."""


class UsageLog(Protocol):
    """The log of a service, here or in another process."""

    def usages(self, request_ids: Collection[str]) -> list[LoggedUsage]:
        """The usages of those turns that are in the log by now; each once."""


class Awaited(msgspec.Struct):
    """What is still to be logged of a turn: a question and, where it had one, its correction."""

    log: UsageLog
    request_ids: list[str]
    prompt_tokens: int = 0
    """What has been logged of it already."""
    completion_tokens: int = 0
    is_own: bool = True
    """Its row is written by this process, not by one that had it run here."""


class _Waiting(msgspec.Struct):
    turn: Awaited
    amend: Amend
    until: float


class LateUsages:
    """Of one process. Looks once a second, while there is a turn to look for."""

    def __init__(self, ticker: Ticker) -> None:
        self._ticker = ticker
        self._waiting: dict[UsageLog, dict[str, _Waiting]] = {}
        self._order: dict[str, UsageLog] = {}
        """By request id, the turn that has ended first in front."""
        self._look_at = 0.0

    def __len__(self) -> int:
        return len(self._order)

    def expect(self, turn: Awaited, amend: Amend) -> None:
        """Call `amend` when all of the turn has been logged, should that be within WAIT_SEC."""
        waiting = _Waiting(turn, amend, self._ticker.loop.time() + WAIT_SEC)
        of_log = self._waiting.setdefault(turn.log, {})
        for request_id in turn.request_ids:
            of_log[request_id] = waiting
            self._order[request_id] = turn.log
        while len(self._order) > MOST:
            self._forget(next(iter(self._order)), "dropped")
        self._ticker.add(self)

    def waits_for(self, log: UsageLog | None) -> bool:
        """True while figures of some turn are still expected in that log."""
        return log in self._waiting

    def tick(self, now: float) -> None:
        if now < self._look_at:
            return
        self._look_at = now + EVERY_SEC
        for log, of_log in list(self._waiting.items()):
            for usage in log.usages(of_log.keys()):
                self._found(usage)
        while self._order:
            first = next(iter(self._order))
            if self._waiting[self._order[first]][first].until > now:
                return
            self._forget(first, "missing")
        self._ticker.remove(self)

    def _found(self, usage: LoggedUsage) -> None:
        waiting = self._take(usage.request_id)
        turn = waiting.turn
        turn.request_ids.remove(usage.request_id)
        turn.prompt_tokens += usage.prompt_tokens
        turn.completion_tokens += usage.completion_tokens
        if not turn.request_ids:
            _count(turn, "amended")
            waiting.amend(turn.prompt_tokens, turn.completion_tokens)

    def _forget(self, request_id: str, outcome: str) -> None:
        turn = self._take(request_id).turn
        _count(turn, outcome)
        # All of it: half of what it has cost is no figure.
        for each in turn.request_ids:
            if each in self._order:
                self._take(each)

    def _take(self, request_id: str) -> _Waiting:
        log = self._order.pop(request_id)
        of_log = self._waiting[log]
        waiting = of_log.pop(request_id)
        if not of_log:
            del self._waiting[log]
        return waiting


def _count(turn: Awaited, outcome: str) -> None:
    if turn.is_own:
        metrics.LATE_USAGE.labels(outcome).inc()
