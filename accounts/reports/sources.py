"""The two tables that sums are read from: hours, and rows where hours will not do."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from django.db.models import Aggregate, CharField, F, Func, Model, Q, QuerySet, Sum

from accounts.ledger.compiled import Compiled, compiled
from accounts.ledger.hours import ROW_SUMS
from accounts.models import FAILED, TURNED_AWAY, Usage, UsageHour, UsageTotal
from accounts.models.hour import bucket_column
from accounts.models.total import TOTAL_BUCKETS, TOTALS
from accounts.reports.period import Span
from accounts.reports.sums import BUCKETS, HISTOGRAMS
from gateway_project.lib.token_sources import ESTIMATES

NOT_REFUSED: Final = ~Q(status="refused")
ESTIMATED: Final = Q(usage_source__in=ESTIMATES)
COUNTED: Final = ~Q(usage_source="") & NOT_REFUSED


class TimeText(Func):
    """A time in UTC as text, to the hour or to the minute: `2026-11-28 14`.

    Not Django's TruncHour: on SQLite that is a Python function called for each row.
    """

    output_field = CharField()

    def __init__(self, column: str, length: int) -> None:
        super().__init__(F(column))
        self._length = length

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(compiler, connection, template=f"substr(%(expressions)s, 1, {self._length})", **extra)

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        # HH24 has two signs more than it stands for.
        form = "YYYY-MM-DD HH24:MI"[: self._length + 2]
        template = f"to_char(%(expressions)s AT TIME ZONE 'UTC', '{form}')"
        return self.as_sql(compiler, connection, template=template, **extra)


class Unindexed(Func):
    """A column to group by. SQLite would walk all of an index of it, instead of the span in that of the time."""

    template = "%(expressions)s"
    arity = 1

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(compiler, connection, template="+%(expressions)s", **extra)


def within(span: Span, column: str) -> Q:
    """Rows whose time lies in the span."""
    met = Q()
    if span.start is not None:
        met &= Q(**{f"{column}__gte": span.start})
    if span.end is not None:
        met &= Q(**{f"{column}__lt": span.end})
    return met


def hours_in(spans: tuple[Span, ...], condition: Q) -> QuerySet[UsageHour]:
    return UsageHour.objects.filter(within_any(spans, "hour"), condition).order_by()


def hours_at(hours: Sequence[Any], condition: Q) -> QuerySet[UsageHour]:
    return UsageHour.objects.filter(condition, hour__in=hours).order_by()


def totals_in(span: Span, condition: Q, level: str) -> QuerySet[UsageTotal]:
    return UsageTotal.objects.filter(within(span, "period"), condition, level=level).order_by()


def rows_in(spans: tuple[Span, ...], condition: Q) -> QuerySet[Usage]:
    return Usage.objects.filter(within_any(spans, "started_at"), condition).order_by()


def within_any(spans: tuple[Span, ...], column: str) -> Q:
    """Rows whose time lies in one of the spans; none without any."""
    if not spans:
        return Q(pk__in=())
    # One condition for both ends of a period, so that they are one query.
    met = Q()
    for span in spans:
        met |= within(span, column)
    return met


# The statements in them are made at the first use, so they are kept.
@cache
def aggregates(model: type[Model], histograms: bool) -> dict[str, Compiled]:
    """What to select so that `Sums.add` can read it."""
    selected = _of_totals(histograms) if model is UsageTotal else _of_others(model, histograms)
    # Prefixed: Django refuses the name of a column for what is computed.
    return compiled(model, {f"sum_{name}": aggregate for name, aggregate in selected.items()})


def _of_totals(histograms: bool) -> dict[str, Aggregate]:
    return {name: Sum(name) for name in (*TOTALS, *(TOTAL_BUCKETS if histograms else ()))}


def _of_others(model: type[Model], histograms: bool) -> dict[str, Aggregate]:
    turns = "turns" if model is UsageHour else "count"
    own = _of_hours() if model is UsageHour else _of_rows()
    selected = {
        "turns": Sum(turns),
        "ok": Sum(turns, filter=Q(status="ok")),
        "failed": Sum(turns, filter=Q(status="error")),
        "refused": Sum(turns, filter=Q(status="refused")),
        "cancelled": Sum(turns, filter=Q(status="cancelled")),
        "faults": Sum(turns, filter=FAILED),
        "turned_away": Sum(turns, filter=TURNED_AWAY),
        "estimated_turns": Sum(turns, filter=ESTIMATED),
        "counted_turns": Sum(turns, filter=COUNTED),
        "prompt_tokens": Sum("prompt_tokens"),
        "completion_tokens": Sum("completion_tokens"),
        **own,
    }
    return selected | (_buckets(model) if histograms else {})


def _of_hours() -> dict[str, Aggregate]:
    return {"busy_ms": Sum("busy_ms"), "sessions_reused": Sum("reused")}


def _of_rows() -> dict[str, Aggregate]:
    return {"busy_ms": ROW_SUMS["busy_ms"], "sessions_reused": ROW_SUMS["reused"]}


def _buckets(model: type[Model]) -> dict[str, Aggregate]:
    names = [bucket_column(histogram, bucket) for histogram in HISTOGRAMS for bucket in range(BUCKETS)]
    # What the hours were made with, so that hours and rows of one period add up.
    return {name: Sum(name) if model is UsageHour else ROW_SUMS[name] for name in names}
