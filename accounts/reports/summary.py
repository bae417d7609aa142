"""Sums of what the filters leave, by group; and the rows themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db.models import F, QuerySet
from django.utils.translation import gettext

from accounts.models import Usage, UsageHour, UsageTotal
from accounts.reports import days
from accounts.reports.filters import COLUMNS, ROW_ONLY, Filters
from accounts.reports.period import DAY, HOUR, Span, pieces
from accounts.reports.sources import TimeText, Unindexed, aggregates, hours_at, hours_in, rows_in, totals_in
from accounts.reports.sums import Sums
from accounts.reports.visibility import Visibility

GROUPS: Final = (*COLUMNS, "hour", "day")
TIME_GROUPS: Final = ("hour", "day")
MOST_GROUPED: Final = 3
"""So many names in `group_by` at once: each more multiplies the groups, and seconds of the database become many."""
TO_HOUR, TO_MINUTE = len("2026-11-28 14"), len("2026-11-28 14:30")

LEVELS: Final = {
    "hour": {"team", "hour", "day"},
    "key": {"team", "key"},
    "kind": {"lingma_model", "client_app", "reason"},
}
"""Levels of totals, and what they can be filtered and grouped by."""
TIMES_OF: Final[dict[Any, str]] = {Usage: "started_at", UsageHour: "hour", UsageTotal: "period"}

Group = tuple[Any, ...]
"""Values in the order of `group_by`: ids of teams and keys, None for none; texts; a time in UTC for `hour`, a date in
the zone of the filters for `day`."""


def rows(filters: Filters, visibility: Visibility) -> QuerySet[Usage]:
    """The rows themselves, without an order."""
    return rows_in(filters.spans, filters.condition & visibility.condition)


def latest(filters: Filters, visibility: Visibility, most: int) -> list[Usage]:
    """So many of the rows, the latest first, with their keys."""
    found: list[Usage] = []
    condition = filters.condition & visibility.condition
    for part in days.latest(filters, visibility, most):
        some = Usage.objects.filter(part, condition).order_by("-started_at", "-id").select_related("api_key")
        found += some[: most - len(found)]
        if len(found) == most:
            break
    return found


def total(filters: Filters, visibility: Visibility, histograms: bool = True) -> Sums:
    """The sums of all that the filters leave."""
    return summarize(filters, visibility, (), histograms).get((), Sums())


def summarize(
    filters: Filters,
    visibility: Visibility,
    group_by: Sequence[str],
    histograms: bool = True,
    most: int = days.MOST_GROUPS,
) -> dict[Group, Sums]:
    """The sums of each group. Without histograms there are no percentiles, and it costs half.

    Raise ValidationError for a group that there is not, for more than MOST_GROUPED names, and for more groups than
    `most`.
    """
    (found,) = summaries(filters, visibility, [(group_by, histograms)], most)
    return found


def summaries(
    filters: Filters, visibility: Visibility, groupings: Sequence[days.Grouping], most: int = days.MOST_GROUPS
) -> list[dict[Group, Sums]]:
    """As `summarize`, by several groupings: names, and whether with histograms. It costs less than one by one."""
    for group_by, _ in groupings:
        _check(group_by)
    levels = [_level(filters, visibility, group_by, histograms) for group_by, histograms in groupings]
    read = days.read(filters, visibility, groupings, most, list(map(bool, levels)))
    found = []
    for (group_by, histograms), level, (sums, spans) in zip(groupings, levels, read, strict=True):
        sources = (
            _totals(spans, filters, visibility, level) if level else _sources(spans, filters, visibility, group_by)
        )
        splits = filters.splits_days(group_by)
        for source in sources:
            read_rows = _read(source, group_by, histograms, most, to_minute=splits)
            for group, row in _grouped(read_rows, group_by, filters, most):
                # Made only where it is missing: a page has some thousand, with two histograms each.
                if group not in sums:
                    sums[group] = Sums()
                sums[group].add(row)
        found.append(sums)
    return found


def _check(group_by: Sequence[str]) -> None:
    if unknown := [name for name in group_by if name not in GROUPS]:
        words = {"value": unknown[0], "choices": ", ".join(GROUPS)}
        raise ValidationError({"group_by": gettext("%(value)s is not one of %(choices)s.") % words})
    if len(group_by) > MOST_GROUPED:
        numbers = {"most": MOST_GROUPED, "count": len(group_by)}
        raise ValidationError({"group_by": gettext("At most %(most)d names at once, not %(count)d.") % numbers})


def _totals(spans: Sequence[Span], filters: Filters, visibility: Visibility, level: str) -> Iterator[QuerySet[Any]]:
    """What to read, each the dearer the finer it is: totals, hours for what is left, rows for what is left of that."""
    condition = filters.condition & visibility.condition
    by_hour = [pieces(span) for span in spans]
    by_period = [pieces(each.whole, HOUR if level == "hour" else DAY) for each in by_hour if each.whole is not None]
    for each in by_period:
        if each.whole is not None:
            yield totals_in(each.whole, condition, level)
    if hours := [span for each in by_period for span in each.cuts]:
        yield hours_in(tuple(hours), condition)
    if rows := [span for each in by_hour for span in each.cuts]:
        yield rows_in(tuple(rows), condition)


def _sources(
    spans: Sequence[Span], filters: Filters, visibility: Visibility, group_by: Sequence[str]
) -> Iterator[QuerySet[Any]]:
    """Hours, and rows for what is left of them; rows alone where hours will not do."""
    condition = filters.condition & visibility.condition
    if filters.needs_rows or not ROW_ONLY.isdisjoint(group_by) or filters.splits_days(group_by):
        wholes, cuts = [], list(spans)
    else:
        cut = [pieces(span) for span in spans]
        wholes = [each.whole for each in cut if each.whole is not None]
        cuts = [span for each in cut for span in each.cuts]
    if filters.hour_of_week and wholes:
        yield hours_at([whole.start for whole in wholes], condition)
        wholes = []
    for whole in wholes:
        # Each by itself: of two, SQLite would walk all hours in the order of their groups.
        yield hours_in((whole,), condition)
    if cuts:
        yield rows_in(tuple(cuts), condition)


def _level(filters: Filters, visibility: Visibility, group_by: Sequence[str], histograms: bool) -> str:
    """The level of totals that has all the columns which filters and groups are about, "" when none has."""
    if filters.splits_days(group_by) or filters.hour_of_week:
        return ""
    asked = {*filters.values, *group_by, *(() if visibility.everything else ("team",))}
    asked |= {"outcome"} if filters.outcome else set()
    return next(
        # Only totals of hours have histograms.
        (level for level, names in LEVELS.items() if asked <= names and (level == "hour" or not histograms)),
        "",
    )


def _read(
    source: QuerySet[Any], group_by: Sequence[str], histograms: bool, most: int, to_minute: bool
) -> Iterable[dict[str, Any]]:
    model: Any = source.model
    selected = aggregates(model, histograms)
    if not group_by:
        # Of no rows there is one row all the same, of NULLs.
        sums = source.aggregate(**selected)
        return [sums] if sums["sum_turns"] else []
    time = TIMES_OF[model]
    # Hours as they are stored: they come in their order, and SQLite need not sort them.
    at = TimeText(time, TO_MINUTE if to_minute else TO_HOUR) if model is Usage else F(time)
    columns = {f"by_{name}": at if name in TIME_GROUPS else Unindexed(F(COLUMNS[name])) for name in group_by}
    read: QuerySet[Any, dict[str, Any]] = source.values(**columns).annotate(**selected)
    if "day" in group_by:
        # Days come as their hours, or minutes: how many groups there are is known only when they are put together.
        return read.iterator()
    # One more than may be, which tells that there are too many without reading all of them.
    return read[: most + 1]


def _grouped(
    read: Iterable[dict[str, Any]], group_by: Sequence[str], filters: Filters, most: int
) -> Iterator[tuple[Group, dict[str, Any]]]:
    seen: set[Group] = set()
    for row in read:
        group = tuple(_value(name, row[f"by_{name}"], filters) for name in group_by)
        seen.add(group)
        if len(seen) > most:
            raise days.too_many_groups()
        yield group, row


def _value(name: str, value: Any, filters: Filters) -> Any:
    if name not in TIME_GROUPS:
        return value
    if isinstance(value, str):
        value = datetime.fromisoformat(value if len(value) > TO_HOUR else f"{value}:00").replace(tzinfo=UTC)
    # To the minute only where days need it.
    return value.replace(minute=0) if name == "hour" else value.astimezone(filters.zone).date()
