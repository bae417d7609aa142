"""What is older than the retention leaves the ledger: rows and the sums of their hours, in batches."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Final

from django.db import models

from accounts.audit.entries import record
from accounts.audit.watched import DELETED
from accounts.ledger import totals
from accounts.ledger.hours import HOUR, hour_of, writing
from accounts.models import AdmittedHour, Alert, OpenTurn, Usage, UsageDay, UsageHour, UsageTotal, WaitingAmendment

BATCH: Final = 2_000
# `prune` counts the first two.
TABLES: Final[tuple[tuple[type[models.Model], str], ...]] = (
    (Usage, "started_at"), (UsageHour, "hour"), (UsageTotal, "period"), (UsageDay, "day"), (AdmittedHour, "hour"),
    (OpenTurn, "started_at"), (Alert, "latest_at"), (WaitingAmendment, "started_at"),
)  # fmt: skip
PAUSE_SEC: Final = 0.02
"""After each batch, for others who wait to write."""


def oldest_kept(now: datetime, retention_days: int) -> datetime:
    """The first hour that is kept, whole: so sums and rows end at the same time."""
    return hour_of(now - timedelta(days=retention_days))


def prune(before: datetime, within: float = float("inf")) -> tuple[int, int]:
    """Delete rows and sums from before that hour, for so many seconds at most; return how many of each."""
    deadline = time.monotonic() + within
    # Totals of a day are those of its midnight: the day that is cut keeps them, for what is left of it.
    firsts: dict[type[models.Model], datetime] = {UsageTotal: totals.day_of(before)}
    # The oldest first, and rows before their sums: pages that add up sums stay right until those go as well.
    rows, hours, *_ = [_delete_all(model, column, firsts.get(model, before), deadline) for model, column in TABLES]
    if rows:
        record(DELETED, Usage._meta.label_lower, "", f"{rows} × {Usage._meta.verbose_name_plural}")
    # The day may have lost its first hours: now, or in a run that has ended before it came here.
    with writing():
        totals.rebuild(before, before + HOUR)
    return rows, hours


def _delete_all(model: type[models.Model], column: str, before: datetime, deadline: float) -> int:
    deleted, found = 0, BATCH
    # By what is found: another process may be faster with some of it, and what refers to a row is deleted with it.
    while found == BATCH and time.monotonic() < deadline:
        oldest = (
            model._default_manager.filter(**{f"{column}__lt": before}).order_by(column).values_list("pk", flat=True)
        )
        # A transaction for each batch: usage is filed in between.
        with writing():
            # By ids, as Django deletes no slice of a query.
            ids = list(oldest[:BATCH])
            _, of_each = model._default_manager.filter(pk__in=ids).delete()
        found = len(ids)
        deleted += of_each.get(model._meta.label, 0)
        time.sleep(PAUSE_SEC)
    return deleted
