"""Contents leave: by age, or because somebody deletes those of a key. In batches."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.audit.entries import record
from accounts.audit.watched import DELETED
from accounts.models import ApiKey, UsageContent

# Few, as a content is some hundred times as large as a row.
BATCH: Final = 100
PAUSE_SEC: Final = 0.02
"""After each batch, for others who wait to write."""
KIND: Final = UsageContent._meta.label_lower


def kept_since(now: datetime, days: int) -> datetime:
    """Contents of turns that began earlier are shown no more, and deleted at the next pruning."""
    return now - timedelta(days=days)


def prune(before: datetime, within: float = float("inf")) -> int:
    """Delete contents of turns that began before, for so many seconds at most; how many there were."""
    return _delete(UsageContent.objects.filter(started_at__lt=before).order_by("started_at"), within)


def delete_of(key: ApiKey) -> int:
    """Delete all contents of a key, those that are on their way too; how many were deleted from the table."""
    # First: what is filed from now on is of turns that begin later.
    ApiKey.objects.filter(pk=key.pk).update(content_from=timezone.now())
    deleted = _delete(UsageContent.objects.filter(api_key=key).order_by("pk"))
    record(DELETED, KIND, key.pk, f"{deleted} × {UsageContent._meta.verbose_name_plural}: {key}")
    return deleted


def _delete(contents: QuerySet[UsageContent], within: float = float("inf")) -> int:
    deadline, deleted, found = time.monotonic() + within, 0, BATCH
    # By what is found, as another process may be faster with some of it.
    while found == BATCH and time.monotonic() < deadline:
        with transaction.atomic():
            ids = list(contents.values_list("pk", flat=True)[:BATCH])
            deleted += UsageContent.objects.filter(pk__in=ids).delete()[0]
        found = len(ids)
        time.sleep(PAUSE_SEC)
    return deleted
