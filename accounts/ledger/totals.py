"""Sums of the sums by the hour: kept with them, and made anew from them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection

from accounts.ledger.added import Adding
from accounts.models import CALLER_FAULTS, GATEWAY_FAULTS, UsageHour
from accounts.models.hour import BUCKET_COLUMNS, DIMENSIONS, SUMS
from accounts.models.total import TOTAL_BUCKETS, TOTALS, UsageTotal
from gateway_project.lib.token_sources import ESTIMATES

DAY: Final = timedelta(days=1)
COLUMNS: Final = (*TOTALS, *TOTAL_BUCKETS)
TOTAL_COUNT: Final = len(TOTALS)
NAMES: Final = ("level", "period", "team_id", "api_key_id", "lingma_model", "agent", "reason")
_HOUR, _KEY, _TEAM, _MODEL, _AGENT, _STATUS, _REASON, _SOURCE = (
    DIMENSIONS.index(name)
    for name in ("hour", "api_key_id", "team_id", "lingma_model", "agent", "status", "reason", "usage_source")
)
_TURNS, _PROMPT, _COMPLETION, _BUSY, _REUSED = (
    SUMS.index(name) for name in ("turns", "prompt_tokens", "completion_tokens", "busy_ms", "reused")
)
_BUCKETS: Final = slice(len(SUMS), len(SUMS) + len(TOTAL_BUCKETS))
"""Of the sums of an hour: its first histograms are those of a total."""
_NO_BUCKETS: Final = [0] * len(TOTAL_BUCKETS)
_ADDING: Final = Adding(UsageTotal, NAMES, COLUMNS)
_TAKE_AWAY: Final = (
    f"UPDATE accounts_usagetotal SET {', '.join(f'{name} = {name} - %s' for name in COLUMNS)} "  # noqa: S608 - names of ours
    "WHERE digest = %s"
)

Hours = Mapping[tuple[Any, ...], list[int]]
"""Dimensions of hours to their sums, as `HourSums` has them."""


def day_of(at: datetime) -> datetime:
    """The beginning of the day of UTC; the time is in UTC."""
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def totals_of(hours: Hours) -> dict[tuple[Any, ...], list[int]]:
    """The totals of these hours by NAMES: sums in the order of COLUMNS."""
    totals: dict[tuple[Any, ...], list[int]] = {}
    for dimensions, sums in hours.items():
        counts, buckets = _counts(dimensions, sums), sums[_BUCKETS]
        for name, added in _named(dimensions, counts, buckets):
            before = totals.get(name)
            totals[name] = added if before is None else [a + b for a, b in zip(before, added, strict=True)]
    return totals


def _named(
    dimensions: tuple[Any, ...], counts: list[int], buckets: list[int]
) -> Iterator[tuple[tuple[Any, ...], list[int]]]:
    hour, team = dimensions[_HOUR], dimensions[_TEAM]
    day = day_of(hour)
    kind = (dimensions[_MODEL], dimensions[_AGENT], dimensions[_REASON])
    yield ("hour", hour, team, None, "", "", ""), [*counts, *buckets]
    yield ("key", day, team, dimensions[_KEY], "", "", ""), [*counts, *_NO_BUCKETS]
    yield ("kind", day, None, None, *kind), [*counts, *_NO_BUCKETS]


def _counts(dimensions: tuple[Any, ...], sums: list[int]) -> list[int]:
    return counts_of(
        dimensions[_STATUS], dimensions[_REASON], dimensions[_SOURCE], sums[_TURNS], sums[_PROMPT], sums[_COMPLETION],
        sums[_BUSY], sums[_REUSED],
    )  # fmt: skip


def counts_of(
    status: str, reason: str, source: str, turns: int, prompt: int, completion: int, busy: int, reused: int
) -> list[int]:
    """In the order of TOTALS. A change of the lists of faults needs `rebuild_usage`."""
    # The same as FAILED and TURNED_AWAY of `models/usage`, which are for queries.
    refused = status == "refused"
    failed_here = (status == "error" and reason not in CALLER_FAULTS) or (refused and reason in GATEWAY_FAULTS)
    turned_away = (status == "error" or refused) and not failed_here
    return [
        turns,
        turns if status == "ok" else 0,
        turns if status == "error" else 0,
        turns if refused else 0,
        turns if status == "cancelled" else 0,
        turns if failed_here else 0,
        turns if turned_away else 0,
        prompt,
        completion,
        turns if source in ESTIMATES else 0,
        turns if source and not refused else 0,
        busy,
        reused,
    ]


def write(hours: Hours) -> None:
    """Add these hours to what is stored. Only within `hours.writing`."""
    _ADDING.add([(digest_of(name), *name, *sums) for name, sums in totals_of(hours).items()])


def take_away(hours: Hours) -> None:
    """Take these hours away from what is stored, where they were added before. Only within `hours.writing`."""
    values: list[tuple[Any, ...]] = [(*sums, digest_of(name)) for name, sums in totals_of(hours).items()]
    with connection.cursor() as cursor:
        cursor.executemany(_TAKE_AWAY, values)
    # As of hours: a turn may get another reason by a later row of it, and was the only one with the first.
    UsageTotal.objects.filter(digest__in=[each[-1] for each in values], turns=0).delete()


def digest_of(name: tuple[Any, ...]) -> str:
    """Of the NAMES of a total, for an upsert: as `hours.digest_of`."""
    level, period, *others = name
    return hashlib.blake2b(repr((level, int(period.timestamp()), *others)).encode(), digest_size=16).hexdigest()


def rebuild(first: datetime, last: datetime) -> None:
    """Make the totals of all days (UTC) from `first` to before `last` anew, from the hours. Only within `writing`.

    Whole days: a total of a day is made of hours that may lie before `first`.
    """
    day = day_of(first)
    while day < last:
        UsageTotal.objects.filter(period__gte=day, period__lt=day + DAY).delete()
        write(stored_hours(day, day + DAY))
        day += DAY


def stored_hours(first: datetime, last: datetime) -> dict[tuple[Any, ...], list[int]]:
    """The hours from `first` to before `last`, as `HourSums` has them."""
    found = UsageHour.objects.filter(hour__gte=first, hour__lt=last)
    rows = found.values_list(*DIMENSIONS, *SUMS, *BUCKET_COLUMNS).iterator()
    return {values[: len(DIMENSIONS)]: list(values[len(DIMENSIONS) :]) for values in rows}


def wrong_days(first: datetime, last: datetime) -> set[datetime]:
    """Days that begin from `first` to before `last` whose totals are not those of the hours."""
    wrong, day = set(), day_of(first)
    while day < last:
        stored = UsageTotal.objects.filter(period__gte=day, period__lt=day + DAY).values_list(*NAMES, *COLUMNS)
        totals = {values[: len(NAMES)]: list(values[len(NAMES) :]) for values in stored}
        if totals != totals_of(stored_hours(day, day + DAY)):
            wrong.add(day)
        day += DAY
    return wrong
