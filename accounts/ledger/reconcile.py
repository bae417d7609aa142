"""Does the ledger add up? Admitted turns against rows, and sums of hours against rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.db.models import Count, Q

from accounts.ledger import days, hours, totals
from accounts.ledger.filing import ORPHANED
from accounts.models import AdmittedHour, OpenTurn, Usage

MOST_NAMED = 50


class Balance(msgspec.Struct):
    """Of some time. It adds up when every turn admitted is closed, open or orphaned, in each hour, and sums are right.

    `unopened` turns were counted when their row came, as the announcement of their beginning was lost. `unmatched` are
    token counts of the service for which no row came.
    """

    admitted: int = 0
    closed: int = 0
    open: int = 0
    orphaned: int = 0
    unopened: int = 0
    unmatched: int = 0
    unbalanced_hours: set[datetime] = set()
    wrong_hours: set[datetime] = set()
    """Their sums are not those of the rows."""
    wrong_days: set[datetime] = set()
    """Beginnings of days (UTC) whose totals are not those of the hours, or whose columns are not those of the rows."""

    @property
    def adds_up(self) -> bool:
        return not (self.unbalanced_hours or self.wrong_hours or self.wrong_days)

    @property
    def difference(self) -> int:
        """Turns that were admitted and are nowhere; negative: rows of turns that nobody admitted."""
        return self.admitted - self.closed - self.open - self.orphaned

    def as_json(self) -> dict[str, Any]:
        return {
            "adds_up": self.adds_up,
            "admitted": self.admitted,
            "closed": self.closed,
            "open": self.open,
            "orphaned": self.orphaned,
            "difference": self.difference,
            "unopened": self.unopened,
            "unmatched": self.unmatched,
            "unbalanced_hours": named(self.unbalanced_hours),
            "wrong_sums": named(self.wrong_hours),
            "wrong_days": named_days(self.wrong_days),
        }

    def as_text(self) -> str:
        """One line."""
        sums = f"admitted {self.admitted} = closed {self.closed} + open {self.open} + orphaned {self.orphaned}"
        if self.adds_up:
            return f"The ledger adds up: {sums}; the sums of the hours are those of the rows."
        faults = []
        if self.unbalanced_hours:
            # A turn too many in one hour and one too few in another: then the sums are equal, and the hours are what is
            # wrong.
            shown = sums.replace(" = ", " != ") if self.difference else sums
            faults.append(f"{shown}, in {_listed('hour', self.unbalanced_hours, named)}")
        if self.wrong_hours:
            listed = _listed("hour", self.wrong_hours, named)
            faults.append(f"sums of {listed} are not those of the rows (`rebuild_usage` makes them)")
        if self.wrong_days:
            listed = _listed("day", self.wrong_days, named_days)
            faults.append(f"totals or columns of {listed} are not those of the hours (`rebuild_usage` makes them)")
        return f"The ledger does not add up: {'; '.join(faults)}."


def named(found: set[datetime]) -> list[str]:
    """Hours as ISO 8601, the latest first, so many that one can read them."""
    return [f"{each.astimezone(UTC):%Y-%m-%dT%H:00Z}" for each in _latest(found)]


def named_days(found: set[datetime]) -> list[str]:
    """Days of UTC, the same way."""
    return [f"{each.astimezone(UTC):%Y-%m-%d}" for each in _latest(found)]


def _latest(found: set[datetime]) -> list[datetime]:
    return sorted(found, reverse=True)[:MOST_NAMED]


def _listed(what: str, found: set[datetime], names: Callable[[set[datetime]], list[str]]) -> str:
    number = len(found)
    return f"{number} {what}{'s' * (number > 1)} ({', '.join(names(found)[:3])}{', …' * (number > 3)})"


def reconcile(start: datetime, end: datetime) -> Balance:
    """The balance of the turns that started from `start` to before `end`, day by day."""
    balance = Balance()
    spans = list(hours.days(start, end))
    for first, last in spans:
        add_span(balance, first, last)
    for first, last in spans:
        add_days(balance, first, last)
    return balance


def add_span(balance: Balance, first: datetime, last: datetime) -> None:
    """Add the balance of some whole hours."""
    # A snapshot: a row filed between two looks would make a difference. Nobody waits for it.
    with hours.snapshot():
        opened = {each.hour: each for each in AdmittedHour.objects.filter(hour__gte=first, hour__lt=last)}
        closed, orphaned = _closed(first, last)
        still_open = _open(first, last)
        balance.wrong_hours |= hours.wrong_hours(first, last)
    for hour in opened.keys() | closed.keys() | orphaned.keys() | still_open.keys():
        admitted = opened[hour].admitted if hour in opened else 0
        if admitted != closed[hour] + orphaned[hour] + still_open[hour]:
            balance.unbalanced_hours.add(hour)
    balance.admitted += sum(each.admitted for each in opened.values())
    balance.unopened += sum(each.unopened for each in opened.values())
    balance.unmatched += sum(each.unmatched for each in opened.values())
    balance.closed += closed.total()
    balance.orphaned += orphaned.total()
    balance.open += still_open.total()


def add_days(balance: Balance, first: datetime, last: datetime) -> None:
    """Add whether totals and columns of the days that have these hours are right. After `add_span`."""
    # Of hours that are wrong themselves the totals must differ; they are made anew with them.
    known = {totals.day_of(hour) for hour in balance.wrong_hours}
    with hours.snapshot():
        balance.wrong_days |= (totals.wrong_days(first, last) | days.wrong(first, last)) - known


def _closed(first: datetime, last: datetime) -> tuple[Counter[datetime], Counter[datetime]]:
    """Rows of admitted turns by the hour: those with an end of their own, and the orphaned ones."""
    rows = Usage.objects.filter(admitted=True, started_at__gte=first, started_at__lt=last).order_by()
    by_hour = rows.annotate(hour=hours.Hour("started_at")).values("hour")
    closed, orphaned = Counter[datetime](), Counter[datetime]()
    counts = by_hour.annotate(all=Count("pk"), orphaned=Count("pk", filter=Q(reason=ORPHANED)))
    for hour, number, without_end in counts.values_list("hour", "all", "orphaned"):
        closed[hour], orphaned[hour] = number - without_end, without_end
    return closed, orphaned


def _open(first: datetime, last: datetime) -> Counter[datetime]:
    turns = OpenTurn.objects.filter(started_at__gte=first, started_at__lt=last)
    return Counter(map(hours.hour_of, turns.values_list("started_at", flat=True)))
