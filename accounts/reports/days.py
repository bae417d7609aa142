"""Sums that are read from finished days, by any filters and groups; and the spans that are left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils.translation import gettext

from accounts.ledger.days import AT, Column
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

Group = tuple[Any, ...]
Grouping = tuple[Sequence[str], bool]
"""Names to group by, and whether with histograms."""
Columns = dict[str, Column]


def read(
    filters: Filters, visibility: Visibility, groupings: Sequence[Grouping], most: int
) -> tuple[list[dict[Group, Sums]], tuple[Span, ...]]:
    """The sums of all finished days, by each of the groupings, and the spans without.

    Raise ValidationError for more groups than `most`.
    """
    if not groupings or filters.hour_of_week:
        return [{} for _ in groupings], filters.spans
    # Only here: numpy is 16 MiB and a tenth of a second, and no turn needs it.
    from accounts.reports.columns import Asked, Day, Grouped

    asked, found = Asked(filters, visibility, groupings), []
    all_grouped = [Grouped(group_by, histograms=histograms) for group_by, histograms in groupings]
    for at, columns in _stored(filters.span, asked.names):
        day = Day(at, columns, asked)
        if day.is_known():
            found.append(at)
            for grouped in all_grouped:
                grouped.add(day)
                if grouped.more_than(most):
                    raise too_many_groups()
    return [grouped.sums() for grouped in all_grouped], tuple(_left(filters.span, found))


def too_many_groups() -> ValidationError:
    return ValidationError({"group_by": gettext("There are too many groups; narrow the filters.")})


def latest(filters: Filters, visibility: Visibility, most: int) -> Iterator[Q]:
    """Conditions that so many of the latest rows meet, with the filters: those of later rows first.

    What filters leave little of is found in the columns, instead of by a walk through all rows of the span.
    """
    if filters.hour_of_week or (visibility.everything and not filters.values and not filters.outcome):
        yield within_any(filters.spans, "started_at")
        return
    from accounts.reports.columns import Asked, Day

    asked, end, times = Asked(filters, visibility, ()), filters.span.end, list[datetime]()
    for at, columns in _stored(filters.span, asked.names, latest_first=True):
        day = Day(at, columns, asked)
        if not day.is_known():
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


def _stored(span: Span, names: Sequence[str], *, latest_first: bool = False) -> Iterator[tuple[datetime, Columns]]:
    """The columns of days of which any part lies in the span, where a day has all of them."""
    cut = [day for piece in pieces(span, DAY).cuts for at in piece if at and (day := floor(at, DAY)) != at]
    # When each row began is asked only where the span begins or ends.
    asked = Q(name__in=names) | Q(name=AT, day__in=cut)
    left, more = Span(floor(span.start, DAY), span.end), True
    # Whoever wants the latest has them mostly in the first day.
    most = 2 * len(names) + 2 if latest_first else AT_ONCE
    while more:
        rows = UsageDay.objects.filter(asked, within(left, "day")).order_by("-day" if latest_first else "day", "name")
        read = list(rows.values_list("day", "name", "data")[:most])
        more, most = len(read) == most, AT_ONCE
        for day, of_day in groupby(read, itemgetter(0)):
            if more and day == read[-1][0]:
                # It may have more columns.
                left = Span(left.start, day + DAY) if latest_first else Span(day, left.end)
                break
            columns = {name: Column.unpacked(data) for _, name, data in of_day}
            if len(columns) == len({*names, AT} if day in cut else names):
                yield day, columns


def _left(span: Span, days: Iterable[datetime]) -> Iterator[Span]:
    at = span.start
    for day in days:
        if at is None or at < day:
            yield Span(at, day)
        at = day + DAY
    if at is None or span.end is None or at < span.end:
        yield Span(at, span.end)
