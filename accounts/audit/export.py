"""The audit log as CSV, streamed with the memory of one page of it."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable
from typing import Final

from asgiref.sync import sync_to_async
from django.db import connection
from django.db.models import Q, QuerySet
from django.http import StreamingHttpResponse
from django.utils import timezone

from accounts.models import AuditEntry
from gateway_project.lib.pages.csv_cells import defused

PAGE: Final = 1000
COLUMNS: Final = ("at", "actor", "source", "address", "action", "object_type", "object_id", "object_text", "changes")


def exported(entries: QuerySet[AuditEntry]) -> StreamingHttpResponse:
    """These rows, the newest first. The header's names are those of the API."""
    answer = StreamingHttpResponse(_pages(entries), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="audit-{timezone.now():%Y-%m-%d}.csv"'
    answer["X-Accel-Buffering"] = "no"  # a proxy would gather the file before it sends any of it
    return answer


# Asynchronous, as ASGI would else gather a whole synchronous stream before it sends any of it.
async def _pages(entries: QuerySet[AuditEntry]) -> AsyncIterator[str]:
    """Ends with the client: Django cancels whoever waits here when it has left."""
    yield _written([COLUMNS])
    entries = entries.order_by("-at", "-id")
    page = await sync_to_async(_read)(entries)
    while page:
        yield _written([_cells(entry) for entry in page])
        last = page[-1]
        # By the last row and not by its number: rows that come meanwhile move nothing.
        page = await sync_to_async(_read)(entries.filter(Q(at__lt=last.at) | Q(at=last.at, pk__lt=last.pk)))


def _read(entries: QuerySet[AuditEntry]) -> list[AuditEntry]:
    try:
        return list(entries[:PAGE])
    finally:
        # Between two pages the client takes its time; others may have the connection meanwhile.
        if not connection.in_atomic_block:  # as a test is
            connection.close_if_unusable_or_obsolete()


def _cells(entry: AuditEntry) -> list[str]:
    changes = "; ".join(f"{name}: {before or ''} → {after or ''}" for name, (before, after) in entry.changes.items())
    texts = [getattr(entry, name) for name in COLUMNS[1:-1]]
    return [entry.at.isoformat(timespec="seconds"), *map(defused, [*texts, changes])]


def _written(rows: Iterable[Iterable[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
