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
from accounts.reports.sources import within
from accounts.reports.sums import Sums
from accounts.reports.visibility import Visibility

MOST_GROUPS: Final = 10_000
"""More are refused: whoever asks for more wants the rows."""
AT_ONCE: Final = 1_000
"""Columns in memory: those of a month at least."""

Group = tuple[Any, ...]
Grouping = tuple[Sequence[str], bool]
"""Names to group by, and whether with histograms."""
Columns = dict[str, Column]


def read(
    filters: Filters, visibility: Visibility, groupings: Sequence[Grouping]
) -> tuple[list[dict[Group, Sums]], tuple[Span, ...]]:
    """The sums of all finished days, by each of the groupings, and the spans without.

    Raise ValidationError for too many groups.
    """
    if not groupings:
        return [], (filters.span,)
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
                if grouped.more_than(MOST_GROUPS):
                    raise too_many_groups()
    return [grouped.sums() for grouped in all_grouped], tuple(_left(filters.span, found))


def too_many_groups() -> ValidationError:
    return ValidationError({"group_by": gettext("There are too many groups; narrow the filters.")})


def _stored(span: Span, names: Sequence[str]) -> Iterator[tuple[datetime, Columns]]:
    """The columns of days of which any part lies in the span, the earliest first, where a day has all of them."""
    cut = [day for piece in pieces(span, DAY).cuts for at in piece if at and (day := floor(at, DAY)) != at]
    # When each row began is asked only where the span begins or ends.
    asked = Q(name__in=names) | Q(name=AT, day__in=cut)
    start, more = floor(span.start, DAY), True
    while more:
        rows = UsageDay.objects.filter(asked, within(Span(start, span.end), "day")).order_by("day", "name")
        read = list(rows.values_list("day", "name", "data")[:AT_ONCE])
        more = len(read) == AT_ONCE
        for day, of_day in groupby(read, itemgetter(0)):
            if more and day == read[-1][0]:
                start = day  # it may have more columns
                break
            columns = {name: Column.unpacked(data) for _, name, data in of_day}
            if len(columns) == len(names) + (day in cut):
                yield day, columns


def _left(span: Span, days: Iterable[datetime]) -> Iterator[Span]:
    at = span.start
    for day in days:
        if at is None or at < day:
            yield Span(at, day)
        at = day + DAY
    if at is None or span.end is None or at < span.end:
        yield Span(at, span.end)
