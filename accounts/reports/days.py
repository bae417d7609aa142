"""Sums that are read from finished days, by any filters and groups; and the spans that are left."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils.translation import gettext

from accounts.ledger.day_column import Column
from accounts.ledger.day_sums import Columns
from accounts.ledger.days import AT
from accounts.models import UsageDay
from accounts.reports.filters import Filters
from accounts.reports.period import DAY, Span, floor, pieces
from accounts.reports.sources import within, within_any
from accounts.reports.sums import Sums
from accounts.reports.visibility import Visibility

MOST_GROUPS: Final = 10_000
"""More are refused: whoever asks for more wants the rows."""
MOST_OF_PAGE: Final = 100_000
"""Of pages, which group by the keys that there are and show the largest."""
AT_ONCE: Final = 1_000
"""Columns in memory: those of a month at least."""

Stored = Mapping[str, bytes | memoryview]
"""What is stored of a day, by name."""
Group = tuple[Any, ...]
Grouping = tuple[Sequence[str], bool]
"""Names to group by, and whether with histograms."""


def read(
    filters: Filters, visibility: Visibility, groupings: Sequence[Grouping], most: int, has_totals: Sequence[bool]
) -> list[tuple[dict[Group, Sums], tuple[Span, ...]]]:
    """By each of the groupings, the sums of all finished days, and the spans without.

    Where a grouping has totals as well, these are cheaper than rows: then only sums of whole days are read.
    Raise ValidationError for more groups than `most`.
    """
    if filters.hour_of_week or (all(has_totals) and not _has_whole_day(filters)):
        return [({}, filters.spans) for _ in groupings]
    # Only here: numpy is 16 MiB and a tenth of a second, and no turn needs it.
    from accounts.reports.columns import Asked, Day
    from accounts.reports.day_tables import Table

    tables = [
        Table(filters, visibility, grouping, rows=not totals)
        for grouping, totals in zip(groupings, has_totals, strict=True)
    ]
    cut, whole = ([each.grouping for each in tables if each.reads_rows(is_cut=is_cut)] for is_cut in (True, False))
    of_cut, of_whole = (Asked(filters, visibility, some) if some else None for some in (cut, whole))
    names = {*(of_whole.names if of_whole else ()), *(name for table in tables for name in table.sums)}
    for at, is_cut, stored in _stored(filters.span, names, of_cut.names if of_cut else ()):
        asked = of_cut if is_cut else of_whole
        columns = _unpacked(stored, [*asked.names, *([AT] if is_cut else [])]) if asked else {}
        rows = Day(at, columns, asked) if asked and columns else None
        for table in tables:
            if table.sums and not is_cut:
                table.add_sums(at, stored)
            elif rows is not None and table.reads_rows(is_cut=is_cut):
                table.add_rows(at, rows)
            if table.more_than(most):
                raise too_many_groups()
    for table in tables:
        table.add_up()
        if table.more_than(most):
            raise too_many_groups()
    return [(table.groups(), tuple(_left(filters.span, table.found))) for table in tables]


def _has_whole_day(filters: Filters) -> bool:
    whole = pieces(filters.span, DAY).whole
    return whole is not None and (whole.start is None or whole.start + DAY <= (whole.end or filters.now))


def too_many_groups() -> ValidationError:
    return ValidationError({"group_by": gettext("There are too many groups; narrow the filters.")})


def _unpacked(stored: Stored, names: Iterable[str]) -> Columns:
    """The columns of these names, none unless all are there."""
    wanted = {*names}
    return {name: Column.unpacked(stored[name]) for name in wanted} if wanted <= stored.keys() else {}


def latest(filters: Filters, visibility: Visibility, most: int) -> Iterator[Q]:
    """Conditions that so many of the latest rows meet, with the filters: those of later rows first.

    What filters leave little of is found in the columns, instead of by a walk through all rows of the span.
    """
    if filters.hour_of_week or (visibility.everything and not filters.values and not filters.outcome):
        yield within_any(filters.spans, "started_at")
        return
    from accounts.reports.columns import Asked, Day

    asked, end, times = Asked(filters, visibility, ()), filters.span.end, list[datetime]()
    for at, _, stored in _stored(filters.span, asked.names, asked.names, latest_first=True):
        columns = _unpacked(stored, asked.names)
        day = Day(at, columns, asked)
        if not columns or not day.is_known():
            continue
        if end is None or at + DAY < end:
            yield from _at(times)
            times = []
            yield within(Span(at + DAY, end), "started_at")
        times += day.latest(most)
        end = at
        if len(times) >= most:
            break
    yield from _at(times)
    if filters.span.start is None or end is None or filters.span.start < end:
        yield within(Span(filters.span.start, end), "started_at")


def _at(times: list[datetime]) -> Iterator[Q]:
    if times:
        yield Q(started_at__in=times)


def _stored(
    span: Span, whole: Collection[str], cut: Collection[str], *, latest_first: bool = False
) -> Iterator[tuple[datetime, bool, Stored]]:
    """What there is of days of which any part lies in the span, and whether that part is cut off a day.

    By names: those of whole days and those of cut ones, which are asked for when each row began as well.
    """
    days = {day for piece in pieces(span, DAY).cuts for at in piece if at and (day := floor(at, DAY)) != at}
    # When each row began is asked only where the span begins or ends.
    asked = Q(name__in=whole) & ~Q(day__in=days) | Q(name__in=[*cut, AT] if cut else [], day__in=days)
    left, more = Span(floor(span.start, DAY), span.end), True
    # Whoever wants the latest has them mostly in the first day.
    most = 2 * len(cut) + 2 if latest_first else AT_ONCE
    while more:
        rows = UsageDay.objects.filter(asked, within(left, "day")).order_by("-day" if latest_first else "day", "name")
        read = list(rows.values_list("day", "name", "data")[:most])
        more, most = len(read) == most, AT_ONCE
        for day, of_day in groupby(read, itemgetter(0)):
            if more and day == read[-1][0]:
                # It may have more.
                left = Span(left.start, day + DAY) if latest_first else Span(day, left.end)
                break
            yield day, day in days, {name: data for _, name, data in of_day}


def _left(span: Span, days: Iterable[datetime]) -> Iterator[Span]:
    at = span.start
    for day in days:
        if at is None or at < day:
            yield Span(at, day)
        at = day + DAY
    if at is None or span.end is None or at < span.end:
        yield Span(at, span.end)
