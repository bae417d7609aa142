"""Budgets whose counter Redis does not have get what the ledger knows of their day, week or month."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final, NamedTuple

from django.db import Error, connection
from redis import ResponseError

from accounts.keys.limit_set import LimitSet
from accounts.limits.alone import LocalCounter
from accounts.limits.counters import Counters, Seen
from accounts.limits.periods import PERIODS
from accounts.limits.scripts import BEGIN, FILL, KEPT_AFTER, MISSING, SEEN_EACH
from accounts.reports.filters import Filters
from accounts.reports.period import Span
from accounts.reports.summary import total
from accounts.reports.visibility import Visibility
from gateway_project.lib.database import database_state as database
from gateway_project.lib.database.query_thread import QueryThread
from gateway_project.lib.redis.redis_link import RedisLink, RedisUnavailable

AFTER_SEC: Final = 5.0
"""How long after a counter was made: the rows of turns that ended before are filed by then."""
READ_SEC: Final = 5.0
GIVE_UP_SEC: Final = 7.0
MOST: Final = 10_000

MOST_LOOKING: Final = 8
LOOK_SEC: Final = 2.0
GIVE_UP_LOOK_SEC: Final = 3.0

_thread = QueryThread("budgets")
_looks = QueryThread("budgets-shown")


class Used(NamedTuple):
    """Admitted requests of a key or team, and the tokens of prompts and replies, as budgets count them."""

    requests: int
    tokens: int


class _Budget(NamedTuple):
    limits: LimitSet
    start: int
    end: int


class Lacking(NamedTuple):
    """A period in Redis to which the ledger's figures have not been added yet."""

    limits: LimitSet
    start: int
    name: str
    position: int
    """Where its requests stand among the numbers of all scopes. Its tokens stand behind those of all periods."""


def lacking_in(seen: Seen) -> list[Lacking]:
    """The periods that lack what the ledger knows."""
    return [
        Lacking(each.limits, each.starts[period], _name(each, period), scope * SEEN_EACH + 5 + period)
        for scope, each in enumerate(seen.counters)
        for period in range(len(PERIODS))
        if seen.numbers[scope * SEEN_EACH + MISSING] >> period & 1
    ]


def completed(seen: Seen, lacking: Sequence[Lacking], used: Sequence[Used]) -> Seen:
    """The same with what the ledger knows of these periods."""
    numbers = list(seen.numbers)
    for each, (requests, tokens) in zip(lacking, used, strict=True):
        numbers[each.position] += requests
        numbers[each.position + len(PERIODS)] += tokens
    return Seen(seen.counters, numbers, seen.at)


def used_before(lacking: Sequence[Lacking], since: Sequence[bytes | None], now: float) -> list[Used]:
    """What was used of each period before Redis began to count it, which is now where it has not. Blocking."""
    return [
        _sums(each.limits, each.start, now if began is None else float(began))
        for each, began in zip(lacking, since, strict=True)
    ]


def _name(counters: Counters, period: int) -> str:
    # The day, the week and the month have the last names of a scope.
    return counters.keys[-len(PERIODS) + period]


class LedgerBudgets:
    """
    Completes the counters of one process's callers, one after the other, beside the requests.

    A counter that is new counts what starts from then on. It may be new because its period is, or because Redis has
    lost it, or because nobody asked; the ledger knows. A turn that was running just then may be missing.
    """

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._incomplete: dict[str, _Budget] = {}
        self._working: asyncio.Task[None] | None = None
        self._looking = 0
        self._alone: dict[str, tuple[LocalCounter, LimitSet, int]] = {}
        self._working_alone: asyncio.Task[None] | None = None

    def complete(self, counters: Counters, missing: int) -> None:
        """Have the periods completed whose bits are set in `missing`."""
        for period in range(len(PERIODS)):
            name = _name(counters, period)
            if missing >> period & 1 and name not in self._incomplete and len(self._incomplete) < MOST:
                self._incomplete[name] = _Budget(counters.limits, counters.starts[period], counters.ends[period])
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
        now = time.time()
        # Another process was quicker, or it is gone with its period.
        if filled or (since is None and now >= budget.end):
            return True
        if since is None:
            # Only looked at so far. It is counted from now on, so that there is something to add to.
            await self._link.run(BEGIN, [name], [now, int(budget.end - now) + KEPT_AFTER])
        if since is None or now < float(since) + AFTER_SEC:
            return False
        used = await _thread.run(partial(used_between, budget.limits, budget.start, float(since)), GIVE_UP_SEC)
        # `since` as it came: the script compares it with what stands there by then, text with text.
        return bool(await self._link.run(FILL, [name], [since, *used]))

    def complete_alone(self, counters: Counters, local: LocalCounter) -> None:
        """Have what this process counts by itself completed, where Redis had not said everything before."""
        for name, start in local.lacking(counters):
            if name not in self._alone and len(self._alone) < MOST:
                self._alone[name] = local, counters.limits, start
        if self._alone and (self._working_alone is None or self._working_alone.done()):
            self._working_alone = asyncio.get_running_loop().create_task(self._work_alone())

    async def _work_alone(self) -> None:
        while self._alone:
            for name, (local, limits, start) in list(self._alone.items()):
                with suppress(Error):
                    used = Used(0, 0)
                    if start < local.since:
                        used = await _thread.run(partial(used_between, limits, start, local.since), GIVE_UP_SEC)
                    local.complete(name, *used)
                    del self._alone[name]
            if self._alone:
                await asyncio.sleep(AFTER_SEC)

    async def completed_alone(self) -> bool:
        """Wait for a completion that is under way, but not for long; False if there is none."""
        if self._working_alone is None or self._working_alone.done():
            return False
        await asyncio.wait({self._working_alone}, timeout=GIVE_UP_LOOK_SEC)
        return True

    async def shown(self, seen: Seen) -> Seen:
        """With what only the ledger knows yet; as it is where that cannot be read in time, or many wait for it."""
        lacking = lacking_in(seen)
        if not lacking or self._looking >= MOST_LOOKING:
            return seen
        self._looking += 1
        try:
            since = [await self._link.execute("HGET", each.name, "since") for each in lacking]
            # One thread reads them one after the other: each waits for those that were there before.
            query = partial(_used_before, lacking, since, seen.at)
            return completed(seen, lacking, await _looks.run(query, GIVE_UP_LOOK_SEC * self._looking))
        except (RedisUnavailable, ResponseError, Error):
            return seen
        finally:
            self._looking -= 1


def _used_before(lacking: Sequence[Lacking], since: Sequence[bytes | None], now: float) -> list[Used]:
    try:
        with database.within(LOOK_SEC):
            return used_before(lacking, since, now)
    finally:
        connection.close()  # nothing else ends this thread's use of it


def used_between(limits: LimitSet, start: float, end: float) -> Used:
    """Requests and tokens of its turns that started between these unix seconds. Blocking; raise Error."""
    try:
        with database.within(READ_SEC):
            return _sums(limits, start, end)
    finally:
        connection.close()  # nothing else ends this thread's use of it


def _sums(limits: LimitSet, start: float, end: float) -> Used:
    span = Span(datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC))
    filters = Filters(now=datetime.now(UTC), zone=UTC, span=span, values={limits.scope: (str(limits.id),)})
    sums = total(filters, Visibility(everything=True), histograms=False)
    # A budget counts what was admitted.
    return Used(sums.turns - sums.refused, sums.prompt_tokens + sums.completion_tokens)
