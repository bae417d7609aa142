"""Rows of the console in the memory of a web process: read at the start, when they change, and now and then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from django.db import Error, connection
from redis import ResponseError

from gateway_project.lib.background import pause
from gateway_project.lib.database import database_state as database
from gateway_project.lib.database.query_thread import QueryThread
from gateway_project.lib.redis.redis_link import RedisLink, RedisUnavailable

READ_SEC, GIVE_UP_SEC = 5.0, 8.0
Rows = TypeVar("Rows")


class TableWatcher(Generic[Rows]):
    """Calls `changed` with what `read` gives when it is first read and whenever it may be something else.

    `counter` is a name in Redis that whoever changes the rows counts up; it is looked at each `poll` seconds. Without
    it the rows are read each `every` seconds, and so often all the same; `soon`: at each look while there is no Redis.
    Never raises; after an error the old rows stay in force.
    """

    def __init__(
        self,
        link: RedisLink,
        counter: str,
        read: Callable[[], Rows],
        changed: Callable[[Rows], None],
        *,
        every: float,
        poll: float,
        soon: bool = False,
    ) -> None:
        self.read = asyncio.Event()
        """Set when the rows have been read once."""
        self._link = link
        self._counter = counter
        self._read = read
        self._changed = changed
        self._every = every
        self._poll = poll
        self._soon = soon
        # A thread of its own: Django's ORM blocks, and a database that hangs must not stop the turns.
        self._thread = QueryThread(counter.rpartition(":")[2])
        self._read_version: bytes | None = None
        self._read_at = float("-inf")

    async def follow(self) -> None:
        """Look for changes until cancelled."""
        while True:
            await self.refresh()
            await pause(self._poll)

    async def refresh(self) -> None:
        """Read the rows if they have changed, were read long ago or could not be."""
        version = await self._version()
        if not self._may_have_changed(version) and not database.in_doubt():
            return
        try:
            rows = await self._thread.run(self._read_in_thread, GIVE_UP_SEC)
        except Error as exc:
            database.failed(exc)
            return
        database.works()
        self._read_at = time.monotonic()
        # The version from before the reading, so no change is missed. After a time without one any is new: what was
        # changed last meanwhile, after the last reading, was not counted.
        self._read_version = version
        self._changed(rows)
        self.read.set()

    def _may_have_changed(self, version: bytes | None) -> bool:
        # Also without a new version: a change made while Redis was away announces itself to nobody.
        old = time.monotonic() - self._read_at >= self._every
        # None is no new version: without Redis the clock decides, or each look counts.
        return old or (self._soon if version is None else version != self._read_version)

    async def _version(self) -> bytes | None:
        """The counter of changes; None while Redis is away."""
        try:
            # A counter, not the rows: every process reads those from the database.
            return await self._link.execute("GET", self._counter) or b"0"
        except (RedisUnavailable, ResponseError):
            return None

    def _read_in_thread(self) -> Rows:
        try:
            with database.within(READ_SEC, ahead=True):
                return self._read()
        finally:
            connection.close()  # kept for the next one where it is of use; nothing else ends this thread's use of it
