"""Checks all the time whether the ledger adds up: the latest hours each minute, and one of all days after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from accounts.ledger import hours, totals
from accounts.ledger.prune import oldest_kept
from accounts.ledger.reconcile import Balance, add_days, add_span, reconcile
from gateway_project.lib import degraded

EVERY_SEC: Final = 60.0
# A check reads a day of rows: with many of them, once a minute would be most of the worker's time.
SHARE: Final = 0.02
"""Of the time, for checks: on a busy gateway they come more seldom."""
RECENT: Final = timedelta(hours=1)


class Auditor:
    """Of one worker. What does not add up is the degraded mode `ledger`, until the same check finds it right."""

    def __init__(self, retention_days: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._retention_days = retention_days
        self._clock = clock
        self._next_at = float("-inf")
        self._before: datetime | None = None  # what is older is checked next
        self._faults: dict[datetime | None, Balance] = {}
        """By what was checked: a day, or None for the latest hours."""

    def check(self) -> None:
        """Where it is time: check the latest hours, and one day more. Raise django.db.Error."""
        began = self._clock()
        if began < self._next_at:
            return
        # First, so that a check that fails is not tried at each flush.
        self._next_at = began + EVERY_SEC
        now = datetime.now(UTC)
        # Beyond now, too: rows have the clock of their process, which may be ahead.
        self._note(None, reconcile(now - RECENT, now + RECENT))
        self._check_day(now)
        self._next_at = self._clock() + max(EVERY_SEC, (self._clock() - began) / SHARE)
        if found := [each.as_text() for each in self._faults.values()]:
            degraded.begin("ledger", found[0])
        else:
            degraded.end("ledger")

    def _check_day(self, now: datetime) -> None:
        """The day before the one that was checked last; after the oldest one the latest."""
        oldest = oldest_kept(now, self._retention_days)
        before = hours.hour_of(now) if self._before is None else self._before
        found = hours.last_day(oldest, before)
        # Days that have nothing are passed over, and those that are pruned come no more: a fault of theirs is over.
        self._forget(hours.BEGINNING, totals.day_of(oldest))
        checked = before if self._before is None else totals.day_of(before)
        self._forget(hours.BEGINNING if found is None else totals.day_of(found[0]) + totals.DAY, checked)
        if found is None:
            self._before = None
            return
        balance = Balance()
        add_span(balance, *found)
        if found[0] > oldest:  # else the day is being pruned: its rows go first, and its sums in another transaction
            add_days(balance, *found)
        self._note(totals.day_of(found[0]), balance)
        self._before = found[0]

    def _forget(self, first: datetime, last: datetime) -> None:
        """What was wrong with the days from `first` to before `last`."""
        gone = [day for day in self._faults if day is not None and first <= day < last]
        for day in gone:
            del self._faults[day]

    def _note(self, what: datetime | None, balance: Balance) -> None:
        if balance.adds_up:
            self._faults.pop(what, None)
        else:
            self._faults[what] = balance
