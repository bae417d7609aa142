"""Sums that are read from finished days, by any filters and groups; and the spans that are left."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils.translation import gettext

from accounts.ledger import day_sums
from accounts.ledger.day_column import Column
from accounts.ledger.day_sums import Columns
from accounts.ledger.days import AT
from accounts.models import UsageDay
from accounts.reports.filters import Filters
from accounts.reports.kept_days import KEPT, Making, Stored
from accounts.reports.period import DAY, Span, floor, pieces
from accounts.reports.sources import within, within_any
from accounts.reports.sums import Sums
from accounts.reports.visibility import Visibility

if TYPE_CHECKING:
    from accounts.reports.day_tables import Table

MOST_GROUPS: Final = 10_000
"""More are refused: whoever asks for more wants the rows."""
MOST_OF_PAGE: Final = 100_000
"""Of pages, which group by the keys that there are and show the largest."""
AT_ONCE: Final = 1_000
"""Columns in memory: those of a month at least."""

Made = tuple[datetime, Making]
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
    from accounts.reports.day_tables import Gathered, Table

    tables = [
        Table(filters, visibility, grouping, rows=not totals)
        for grouping, totals in zip(groupings, has_totals, strict=True)
    ]
    cut, whole = ([each.grouping for each in tables if each.reads_rows(is_cut=is_cut)] for is_cut in (True, False))
    of_cut, of_whole = (Asked(filters, visibility, some) if some else None for some in (cut, whole))
    names = {*(of_whole.names if of_whole else ()), *(name for table in tables for name in table.sums)}
    gathered = Gathered(of_whole, [table for table in tables if table.reads_rows(is_cut=False)]) if of_whole else None
    for at, is_cut, stored in _stored(filters.span, names, of_cut.names if of_cut else ()):
        if is_cut and of_cut and (columns := _rows(stored, [*of_cut.names, AT])):
            rows = Day(at, columns, of_cut)
            for table in tables:
                table.add_rows(at, rows)
        elif not is_cut:
            if gathered and (columns := _rows(stored, gathered.asked.names)):
                gathered.add(Day(at, columns, gathered.asked))
            for table in tables:
                table.add_sums(at, stored)
        _refuse_more_than(most, tables)
    if gathered:
        gathered.add_up()
    for table in tables:
        table.add_up()
    _refuse_more_than(most, tables)
    return [(table.groups(), tuple(_left(filters.span, table.found))) for table in tables]


def _refuse_more_than(most: int, tables: Iterable[Table]) -> None:
    if any(table.more_than(most) for table in tables):
        raise too_many_groups()


def _has_whole_day(filters: Filters) -> bool:
    whole = pieces(filters.span, DAY).whole
    return whole is not None and (whole.start is None or whole.start + DAY <= (whole.end or filters.now))


def too_many_groups() -> ValidationError:
    return ValidationError({"group_by": gettext("There are too many groups; narrow the filters.")})


def _rows(stored: Stored, names: Iterable[str]) -> Columns:
    """The columns of these names, none unless all are there."""
    wanted = {*names}
    return {name: stored[name][name] for name in wanted} if wanted <= stored.keys() else {}


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
        columns = _rows(stored, asked.names)
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
    names = {False: frozenset(whole), True: frozenset([*cut, AT] if cut else [])}
    if not (most := max(map(len, names.values()))):
        return
    made = [each for each in _makings(span) if names[each[0] in days]]
    at_once = max(AT_ONCE // most, 1)
    # Whoever wants the latest has them mostly in the first day.
    first = 1 if latest_first else at_once
    for some in _portions(made[::-1] if latest_first else made, first, at_once):
        found = _columns({day: (making, names[day in days]) for day, making in some})
        yield from ((day, day in days, stored) for day, stored in found)


def _makings(span: Span) -> list[tuple[datetime, Making]]:
    """The days that there are, in their order, and which making each is."""
    made = UsageDay.objects.filter(within(Span(floor(span.start, DAY), span.end), "day"), name="", ready=True)
    rows = made.order_by("day").values_list("day", "pk", "data")
    return [(day, Making(number, bytes(mark))) for day, number, mark in rows]


def _portions(some: Sequence[Made], first: int, others: int) -> Iterator[Sequence[Made]]:
    yield some[:first]
    yield from (some[place : place + others] for place in range(first, len(some), others))


def _columns(wanted: Mapping[datetime, tuple[Making, frozenset[str]]]) -> Iterator[tuple[datetime, Stored]]:
    """Of each day what it has by these names, in the order of the days."""
    kept = {day: KEPT.get(day, making, names) for day, (making, names) in wanted.items()}
    packed = _packed({day: names for day, (_, names) in wanted.items() if kept[day] is None})
    for day, (_, names) in wanted.items():
        if (stored := kept.pop(day)) is not None:
            yield day, stored
        elif day in packed:
            # Which may be another making than a moment ago.
            making, data = packed.pop(day)
            stored = {name: _unpacked(name, each) for name, each in data.items()}
            if making.mark:
                KEPT.put(day, making, names, stored)
            yield day, stored


def _packed(wanted: Mapping[datetime, frozenset[str]]) -> dict[datetime, tuple[Making, dict[str, bytes]]]:
    """By day its making and what it has by these names: in one query, so that all of it is of that making."""
    by_names: dict[frozenset[str], list[datetime]] = {}
    for day, names in wanted.items():
        by_names.setdefault(names, []).append(day)
    asked = Q(pk__in=())
    for names, days in by_names.items():
        asked |= Q(day__in=days, name__in=["", *names])
    makings: dict[datetime, Making] = {}
    found: dict[datetime, dict[str, bytes]] = {day: {} for day in wanted}
    rows = UsageDay.objects.filter(asked, ready=True) if wanted else UsageDay.objects.none()
    for day, name, number, data in rows.values_list("day", "name", "pk", "data"):
        if name:
            found[day][name] = bytes(data)
        else:
            makings[day] = Making(number, bytes(data))
    return {day: (making, found[day]) for day, making in makings.items()}


def _unpacked(name: str, data: bytes) -> Columns:
    return day_sums.unpacked(data) if name in day_sums.SUMS else {name: Column.unpacked(data)}


def _left(span: Span, days: Iterable[datetime]) -> Iterator[Span]:
    at = span.start
    for day in days:
        if at is None or at < day:
            yield Span(at, day)
        at = day + DAY
    if at is None or span.end is None or at < span.end:
        yield Span(at, span.end)
