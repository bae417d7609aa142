"""What is older than the retention leaves the ledger: rows and the sums of their hours, in batches."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Final

from accounts.ledger import totals
from accounts.ledger.hours import HOUR, hour_of, writing
from accounts.models import AdmittedHour, OpenTurn, Usage, UsageHour, UsageTotal

BATCH: Final = 2_000
PAUSE_SEC: Final = 0.02
"""After each batch, for others who wait to write."""


def oldest_kept(now: datetime, retention_days: int) -> datetime:
    """The first hour that is kept, whole: so sums and rows end at the same time."""
    return hour_of(now - timedelta(days=retention_days))


def prune(before: datetime, within: float = float("inf")) -> tuple[int, int]:
    """Delete rows and sums from before that hour, for so many seconds at most; return how many of each."""
    deadline = time.monotonic() + within
    rows, hours = 0, 0
    # The oldest first: what is left when the time is over is whole days.
    while (deleted := _delete(before)) and time.monotonic() < deadline:
        rows += deleted
        time.sleep(PAUSE_SEC)
    if not deleted:
        with writing():
            hours, _ = UsageHour.objects.filter(hour__lt=before).delete()
            UsageTotal.objects.filter(period__lt=before).delete()
            totals.rebuild(before, before + HOUR)  # the day may have lost its first hours
            AdmittedHour.objects.filter(hour__lt=before).delete()
            OpenTurn.objects.filter(started_at__lt=before).delete()
    return rows + deleted, hours


def _delete(before: datetime) -> int:
    oldest = Usage.objects.filter(started_at__lt=before).order_by("started_at", "id").values("pk")[:BATCH]
    with writing():
        deleted, _ = Usage.objects.filter(pk__in=list(oldest.values_list("pk", flat=True))).delete()
    return deleted
