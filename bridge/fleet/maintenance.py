"""Maintenance windows of the database: read for the pools, and told to the audit log when they open and close."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Final

from django.db import Error, connection, transaction
from django.utils import timezone

from accounts.audit.context import Source, acting
from accounts.audit.entries import record
from bridge.models import MaintenanceWindow
from bridge.models.maintenance import MOST
from bridge.pool.upkeep.maintenance import MaintenanceWindows
from bridge.pool.upkeep.windows import Window, occurrence
from bridge.status.wanted import Mode
from gateway_project.lib.database import database_state as database
from gateway_project.lib.database.query_thread import QueryThread

logger = logging.getLogger(__name__)

AGAIN_SEC: Final = 5.0
QUERY_SEC, GIVE_UP_SEC = 5.0, 8.0
OPENED: Final = "opened"
CLOSED: Final = "closed"
ACTOR: Final = "maintenance"


def read_windows() -> tuple[Window, ...]:
    """Those that count. Raise django.db.Error."""
    return tuple(window_of(row) for row in MaintenanceWindow.objects.filter(enabled=True).order_by("id")[:MOST])


def window_of(row: MaintenanceWindow) -> Window:
    times = (row.starts_at.timestamp(), row.ends_at.timestamp())
    return Window(row.pk, row.name, Mode(row.mode), *times, row.weekly, row.time_zone, tuple(row.instances))


def next_of(row: MaintenanceWindow, now: datetime) -> tuple[datetime, datetime] | None:
    """When it is open, if it is now, else the next time; None: never again."""
    found = occurrence(window_of(row), now.timestamp())
    if found is None:
        return None
    return datetime.fromtimestamp(found.begins_at, UTC), datetime.fromtimestamp(found.ends_at, UTC)


def is_open(row: MaintenanceWindow, now: datetime) -> bool:
    times = next_of(row, now)
    return row.enabled and times is not None and times[0] <= now


def settle(now: datetime) -> None:
    """Have the audit log say which have opened and closed since it was told. Safe to run at once: one writes the row.

    Raise django.db.Error.
    """
    for row in MaintenanceWindow.objects.order_by("id")[:MOST]:
        times = next_of(row, now)
        opened_at = times[0] if times is not None and is_open(row, now) else None
        if (row.opened_at is None) != (opened_at is None):
            _tell(row, opened_at)


def _tell(row: MaintenanceWindow, opened_at: datetime | None) -> None:
    with transaction.atomic(), acting(Source.SCHEDULE, ACTOR):
        if MaintenanceWindow.objects.filter(pk=row.pk, opened_at=row.opened_at).update(opened_at=opened_at):
            record(OPENED if opened_at else CLOSED, row._meta.label_lower, row.pk, row.name)


class WindowLog:
    """`follow()` until it is cancelled, in every web process."""

    def __init__(self, windows: MaintenanceWindows) -> None:
        self._thread = QueryThread("windows")
        self._changed = asyncio.Event()
        # Also once at the start: one may have closed while no process ran.
        windows.on_change = self._changed.set

    async def follow(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            if not await self.tell():
                self._changed.set()
                await asyncio.sleep(AGAIN_SEC)

    async def tell(self) -> bool:
        """Bring the log up to date; whether that was possible."""
        try:
            await self._thread.run(self._settle, GIVE_UP_SEC)
        except Error as exc:
            database.failed(exc)
            return False
        return True

    def _settle(self) -> None:
        try:
            with database.within(QUERY_SEC):
                settle(timezone.now())
        finally:
            connection.close()
