"""Budgets whose counter Redis does not have get what the ledger knows of their day, week or month."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final, NamedTuple

from django.db import Error, connection
from redis import ResponseError

from accounts.keys.limit_set import LimitSet
from accounts.limits.counters import Counters
from accounts.limits.periods import PERIODS
from accounts.limits.scripts import FILL
from accounts.reports.filters import Filters
from accounts.reports.period import Span
from accounts.reports.summary import total
from accounts.reports.visibility import Visibility
from gateway_project.lib import database_state as database
from gateway_project.lib.query_thread import QueryThread
from gateway_project.lib.redis_link import RedisLink, RedisUnavailable

AFTER_SEC: Final = 5.0
"""How long after a counter was made: the rows of turns that ended before are filed by then."""
READ_SEC: Final = 5.0
GIVE_UP_SEC: Final = 7.0
MOST: Final = 10_000

_thread = QueryThread("budgets")


class Used(NamedTuple):
    """What a key or team has used, as budgets count it."""

    requests: int
    tokens: int


class _Budget(NamedTuple):
    limits: LimitSet
    start: int


class LedgerBudgets:
    """
    Completes the counters of one process's callers, one after the other, beside the requests.

    A counter that is new counts what starts from then on. It may be new because its period is, or because Redis has
    lost it; the ledger knows. A turn that was running just then may be missing.
    """

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._incomplete: dict[str, _Budget] = {}
        self._working: asyncio.Task[None] | None = None

    def complete(self, counters: Counters, missing: int) -> None:
        """Have the periods completed whose bits are set in `missing`."""
        for period in range(len(PERIODS)):
            # The day, the week and the month have the last names of a scope.
            name = counters.keys[-len(PERIODS) + period]
            if missing >> period & 1 and name not in self._incomplete and len(self._incomplete) < MOST:
                self._incomplete[name] = _Budget(counters.limits, counters.starts[period])
        if self._working is None or self._working.done():
            self._working = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        while self._incomplete:
            await asyncio.sleep(AFTER_SEC)
            for name, budget in list(self._incomplete.items()):
                # What cannot be read or written now is tried again with the next round.
                with suppress(RedisUnavailable, ResponseError, Error):
                    if await self._is_complete(name, budget):
                        del self._incomplete[name]

    async def _is_complete(self, name: str, budget: _Budget) -> bool:
        since, filled = await self._link.execute("HMGET", name, "since", "filled")
        # Gone with its period, or another process was quicker.
        if since is None or filled:
            return True
        used = await _thread.run(partial(used_between, budget.limits, budget.start, float(since)), GIVE_UP_SEC)
        # `since` as it came: the script compares it with what stands there by then, text with text.
        return bool(await self._link.run(FILL, [name], [since, *used]))


def used_between(limits: LimitSet, start: float, end: float) -> Used:
    """What turns of the key or team have used that started in that time. Blocking; raise Error."""
    span = Span(datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC))
    filters = Filters(now=datetime.now(UTC), zone=UTC, span=span, values={limits.scope: (str(limits.id),)})
    try:
        with database.within(READ_SEC):
            sums = total(filters, Visibility(everything=True), histograms=False)
    finally:
        connection.close()  # nothing else ends this thread's use of it
    # A budget counts what was admitted.
    return Used(sums.turns - sums.refused, sums.prompt_tokens + sums.completion_tokens)
