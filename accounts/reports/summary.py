"""Sums of what the filters leave, by group; and the rows themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db.models import F, Model, QuerySet
from django.utils.translation import gettext

from accounts.models import Usage, UsageHour
from accounts.reports.filters import COLUMNS, ROW_ONLY, Filters
from accounts.reports.period import Pieces, is_whole_hours, pieces
from accounts.reports.sources import TimeText, aggregates, hours_in, rows_in
from accounts.reports.sums import Sums
from accounts.reports.visibility import Visibility

GROUPS: Final = (*COLUMNS, "hour", "day")
TIME_GROUPS: Final = ("hour", "day")
MOST_GROUPS: Final = 50_000
"""More are refused: whoever asks for more wants the rows."""
TO_HOUR, TO_MINUTE = len("2026-11-28 14"), len("2026-11-28 14:30")

Group = tuple[Any, ...]
"""Values in the order of `group_by`: ids of teams and keys, None for none; texts; a time in UTC for `hour`, a date in
the zone of the filters for `day`."""


def rows(filters: Filters, visibility: Visibility) -> QuerySet[Usage]:
    """The rows themselves, without an order."""
    return rows_in((filters.span,), filters.condition & visibility.condition)


def total(filters: Filters, visibility: Visibility, histograms: bool = True) -> Sums:
    """The sums of all that the filters leave."""
    return summarize(filters, visibility, (), histograms).get((), Sums())


def summarize(
    filters: Filters, visibility: Visibility, group_by: Sequence[str], histograms: bool = True
) -> dict[Group, Sums]:
    """The sums of each group. Without histograms there are no percentiles, and it costs half.

    Raise ValidationError for a group that there is not, and for too many of them.
    """
    if unknown := [name for name in group_by if name not in GROUPS]:
        words = {"value": unknown[0], "choices": ", ".join(GROUPS)}
        raise ValidationError({"group_by": gettext("%(value)s is not one of %(choices)s.") % words})
    # In a zone such as Asia/Kolkata the hour (UTC) around midnight belongs to two days.
    split_days = "day" in group_by and not is_whole_hours(filters.zone, filters.now)
    if filters.needs_rows or split_days or not ROW_ONLY.isdisjoint(group_by):
        parts = Pieces(None, (filters.span,))
    else:
        parts = pieces(filters.span)
    condition = filters.condition & visibility.condition
    length = TO_MINUTE if split_days else TO_HOUR
    found: dict[Group, Sums] = {}
    if parts.hours is not None:
        read = _read(hours_in(parts.hours, condition), UsageHour, group_by, length, histograms)
        _add(found, read, group_by, filters)
    if parts.cuts:
        read = _read(rows_in(parts.cuts, condition), Usage, group_by, length, histograms)
        _add(found, read, group_by, filters)
    return found


def _read(
    source: QuerySet[Any], model: type[Model], group_by: Sequence[str], length: int, histograms: bool
) -> Iterable[dict[str, Any]]:
    selected = aggregates(model, histograms)
    if not group_by:
        sums = source.aggregate(**selected)
        return [sums] if sums["sum_turns"] else []
    time = "hour" if model is UsageHour else "started_at"
    columns = {f"by_{name}": TimeText(time, length) for name in group_by if name in TIME_GROUPS} | {
        f"by_{name}": F(COLUMNS[name]) for name in group_by if name not in TIME_GROUPS
    }
    read: Iterable[dict[str, Any]] = source.values(**columns).annotate(**selected)[: MOST_GROUPS + 1]
    return read


def _add(found: dict[Group, Sums], read: Iterable[dict[str, Any]], group_by: Sequence[str], filters: Filters) -> None:
    for count, row in enumerate(read):
        if count >= MOST_GROUPS:
            raise ValidationError({"group_by": gettext("There are too many groups; narrow the filters.")})
        group = tuple(_value(name, row[f"by_{name}"], filters) for name in group_by)
        found.setdefault(group, Sums()).add(row)


def _value(name: str, value: Any, filters: Filters) -> Any:
    if name not in TIME_GROUPS:
        return value
    at = datetime.fromisoformat(value if len(value) > TO_HOUR else f"{value}:00").replace(tzinfo=UTC)
    # To the minute only where days need it.
    return at.replace(minute=0) if name == "hour" else at.astimezone(filters.zone).date()
