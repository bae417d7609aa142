"""The last three hours in short intervals, for a look at what happens now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db.models import Sum

from accounts.models import FAILED
from accounts.reports.filters import Filters
from accounts.reports.period import DAY, EPOCH, HOUR, Span
from accounts.reports.sources import TimeText, rows_in
from accounts.reports.summary import TO_MINUTE, summarize
from accounts.reports.visibility import Visibility

LENGTH: Final = timedelta(hours=3)
STEP: Final = timedelta(minutes=5)
MINUTE: Final = timedelta(minutes=1)
SETTLED: Final = 2 * MINUTE
"""An interval that has run for less is taken together with the one before."""
MOST_ROWS: Final = 20_000
"""Of so busy a gateway whole hours are shown, whose sums are there already: the page must not become slow with it."""


@dataclass(kw_only=True)
class Interval:
    """Some minutes. `end` of the last one is now. `faults` are failures of the gateway or Lingma."""

    start: datetime
    end: datetime
    turns: int = 0
    faults: int = 0

    @property
    def per_minute(self) -> float:
        return self.turns / max((self.end - self.start) / MINUTE, 1)


def recent(now: datetime, visibility: Visibility) -> list[Interval]:
    """The intervals in their order, those without a turn too; the last one still runs."""
    # The interval that runs is one of them.
    start = now - (now - EPOCH) % STEP - LENGTH + STEP
    found = rows_in((Span(start, None),), visibility.condition)
    # Whether there is one more than the most, which an index answers, where a count would read all of them.
    if found.order_by("-started_at").values_list("pk")[MOST_ROWS : MOST_ROWS + 1]:
        return _by_hour(now, visibility)
    intervals = _intervals(start, now, STEP)
    minutes = found.values(minute=TimeText("started_at", TO_MINUTE)).annotate(
        turns=Sum("count"), faults=Sum("count", filter=FAILED, default=0)
    )
    for each in minutes:
        at = datetime.fromisoformat(each["minute"]).replace(tzinfo=UTC)
        # The clock of another machine may be ahead.
        interval = intervals[min((at - start) // STEP, len(intervals) - 1)]
        interval.turns += each["turns"]
        interval.faults += each["faults"]
    return intervals


def current(intervals: list[Interval]) -> Interval:
    """The time that counts as now."""
    *_, before, last = intervals
    if last.end - last.start >= SETTLED:
        return last
    return Interval(
        start=before.start, end=last.end, turns=before.turns + last.turns, faults=before.faults + last.faults
    )


def _by_hour(now: datetime, visibility: Visibility) -> list[Interval]:
    start = now - (now - EPOCH) % HOUR - LENGTH
    intervals = _intervals(start, now, HOUR)
    filters = Filters(now=now, zone=UTC, span=Span(start, start + DAY))
    for (hour,), sums in summarize(filters, visibility, ("hour",), histograms=False).items():
        interval = intervals[min((hour - start) // HOUR, len(intervals) - 1)]
        interval.turns += sums.turns
        interval.faults += sums.faults
    return intervals


def _intervals(start: datetime, now: datetime, length: timedelta) -> list[Interval]:
    count = -(-(now - start) // length)
    starts = [start + length * place for place in range(count)]
    return [Interval(start=each, end=min(each + length, now)) for each in starts]
