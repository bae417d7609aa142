"""Sums that are read from finished days, where the filters are one column's values; and the spans that are left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Q

from accounts.ledger.days import NAMES, OUTCOME, decode
from accounts.ledger.totals import TOTAL_COUNT
from accounts.models import UsageDay
from accounts.reports.filters import COLUMNS, NONE, Filters
from accounts.reports.period import DAY, Span, pieces
from accounts.reports.sources import within
from accounts.reports.sums import BUCKETS, COUNTS, Sums
from accounts.reports.visibility import Visibility

PARTS: Final = {
    "by_hour": ("hour", "day"), "by_caller": ("team", "key"), "by_kind": ("lingma_model", "client_app", "reason"),
}  # fmt: skip
"""The sums of a day, and what each can be grouped by."""

Group = tuple[Any, ...]


def read(
    filters: Filters, visibility: Visibility, group_by: Sequence[str], histograms: bool
) -> tuple[dict[Group, Sums], tuple[Span, ...]]:
    """The sums of all finished days that have them, by group, and the spans without."""
    asked, part = _asked(filters, visibility), _part(group_by, histograms)
    whole = pieces(filters.span, DAY).whole
    if asked is None or part is None or whole is None:
        return {}, (filters.span,)
    found = _stored(whole, *asked, part)
    sums: dict[Group, list[int]] = {}
    for day, parts in found.items():
        group_of = _group_of(day, group_by, part, filters)
        for each in parts:
            _fold(sums, decode(each), group_of, len(PARTS[part]) if part != "by_hour" else 1)
    return {group: _as_sums(each) for group, each in sums.items()}, tuple(_left(filters.span, found))


def _asked(filters: Filters, visibility: Visibility) -> tuple[str, list[str]] | None:
    """The column and its values, if the filters are about nothing else."""
    if not visibility.everything:
        return None
    if filters.outcome:
        return None if filters.values else (OUTCOME, [filters.outcome])
    if len(filters.values) != 1:
        return None
    ((name, values),) = filters.values.items()
    texts = list(dict.fromkeys("" if text == NONE else text for text in values))
    return (COLUMNS[name], texts) if COLUMNS[name] in NAMES else None


def _part(group_by: Sequence[str], histograms: bool) -> str | None:
    for part, names in PARTS.items():
        if set(group_by) <= set(names) and (part == "by_hour" or not histograms):
            return part
    return None


def _stored(whole: Span, name: str, values: list[str], part: str) -> dict[datetime, list[bytes]]:
    """By the day: the sums of the values that it has, of days that know of all of them."""
    rows = UsageDay.objects.filter(
        within(whole, "day"), Q(name=name, value__in=values) | Q(name="", value=""), ready=True
    )
    cut: dict[datetime, list[str]] = {}
    found: dict[datetime, dict[str, bytes]] = {}
    for day, of, value, sums in rows.order_by().values_list("day", "name", "value", part):
        if of:
            found.setdefault(day, {})[value] = bytes(sums)
        else:
            cut[day] = decode(bytes(sums))
    return {
        day: list(found.get(day, {}).values())
        for day, names in cut.items()
        if name not in names or len(found.get(day, ())) == len(values)
    }


def _group_of(day: datetime, group_by: Sequence[str], part: str, filters: Filters) -> Callable[[list[Any]], Group]:
    if part != "by_hour":
        places = [PARTS[part].index(name) for name in group_by]
        return lambda entry: tuple([entry[place] for place in places])

    def of_hour(entry: list[Any]) -> Group:
        at = day + timedelta(hours=entry[0])
        return tuple(at if name == "hour" else at.astimezone(filters.zone).date() for name in group_by)

    return of_hour


def _fold(
    sums: dict[Group, list[int]], entries: Iterable[list[Any]], group_of: Callable[[list[Any]], Group], first: int
) -> None:
    for entry in entries:
        group, added = group_of(entry), entry[first:]
        before = sums.get(group)
        sums[group] = added if before is None else [a + b for a, b in zip(before, added, strict=True)]


def _as_sums(counts: list[int]) -> Sums:
    named: Any = dict(zip(COUNTS, counts, strict=False))  # the histograms, if any, follow
    sums = Sums(**named)
    if buckets := counts[TOTAL_COUNT:]:
        sums.first_token, sums.queue = buckets[:BUCKETS], buckets[BUCKETS:]
    return sums


def _left(span: Span, days: Iterable[datetime]) -> Iterator[Span]:
    at = span.start
    for day in sorted(days):
        if at is None or at < day:
            yield Span(at, day)
        at = day + DAY
    if at is None or span.end is None or at < span.end:
        yield Span(at, span.end)
