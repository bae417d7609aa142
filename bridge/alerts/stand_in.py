"""The first web process runs the checks while worker or scheduler is away: else nobody would tell that they are."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict
from typing import Final

from django.db import Error, connection
from django.utils import timezone

from accounts.alerts.notices import deliver, notice_options
from bridge.alerts.run import run
from bridge.alerts.view import AlertOptions
from bridge.fleet import modes
from gateway_project.lib.database import database_state as database
from gateway_project.lib.database.query_thread import QueryThread

log = logging.getLogger(__name__)

EVERY_SEC: Final = 15.0
QUERY_SEC: Final = 10.0
GIVE_UP_SEC: Final = 60.0
MISSED: Final = frozenset({"worker", "beat", "redis", "tasks"})
"""While one of these modes is on, no task comes to its turn."""


class StandIn:
    """`follow` is all. Not all web processes do it: one is enough, and each look costs some queries."""

    def __init__(self, redis_url: str, options: AlertOptions) -> None:
        self._redis_url = redis_url
        self._options = options
        self._thread = QueryThread("alerts")

    async def follow(self) -> None:
        while True:
            await asyncio.sleep(EVERY_SEC)
            await self.look()

    async def look(self) -> bool:
        """Run the checks, if nobody else does; whether that was done."""
        if MISSED.isdisjoint(each.name for each in modes.active()):
            return False
        try:
            await self._thread.run(self._run, GIVE_UP_SEC)
        except Error as exc:
            # The alerts are in the database: without it there is only the degraded mode.
            database.failed(exc)
            return False
        return True

    def _run(self) -> None:
        try:
            with database.within(QUERY_SEC):
                run(self._redis_url, self._options, timezone.now())
            with database.within(GIVE_UP_SEC):  # receivers may take their time
                deliver(notice_options(asdict(self._options)), timezone.now())
        finally:
            connection.close()  # as every thread of our own does
