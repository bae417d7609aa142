"""The feed of the live page: one snapshot a second for all who watch, and none while nobody does."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cached_property
from typing import Any

from bridge.fleet import modes
from bridge.fleet.live_logins import read_logins
from bridge.fleet.live_view import encode, live_view, without_people
from bridge.fleet.login_queries import LoginQueries
from bridge.pool.logins.login_store import StoreAway
from bridge.runtime.runtime import Runtime
from bridge.status.live import LiveLogin, LiveView

logger = logging.getLogger(__name__)

EVERY_SEC = 1.0
LOGINS_SEC = 5.0
MOST, MOST_OF_USER = 64, 8
"""Sockets of this process, and of them those of one user."""


class Snapshot:
    """The view of one moment, encoded once however many watch."""

    def __init__(self, view: LiveView) -> None:
        self._view = view

    @cached_property
    def whole(self) -> str:
        return encode(self._view).decode()

    @cached_property
    def without_people(self) -> str:
        """For who may see neither keys nor logins."""
        return encode(without_people(self._view)).decode()


def snapshots_of(runtime: Runtime) -> Callable[[], Awaitable[Snapshot]]:
    """A function that makes a snapshot of all processes."""
    logins = LiveLogins()

    async def make() -> Snapshot:
        reports = await runtime.followers.live.look()
        now = max(each.at for each in reports)
        return Snapshot(live_view(reports, runtime.pool.all_statuses(), modes.active(), now, logins.latest()))

    return make


class LiveLogins(LoginQueries):
    """As they were some seconds ago: nobody waits for the database."""

    def __init__(self) -> None:
        super().__init__("live-logins")
        self._found: list[LiveLogin] = []
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    def latest(self) -> list[LiveLogin]:
        """Those that are known; older ones are read again for the next who asks."""
        now = time.monotonic()
        if now - self._read_at >= LOGINS_SEC and (self._reading is None or self._reading.done()):
            self._read_at = now
            self._reading = asyncio.get_running_loop().create_task(self._read())
        return self._found

    async def _read(self) -> None:
        with suppress(StoreAway):
            self._found = await self._run(read_logins)


class LiveFeed:
    """Who watches gets each snapshot as soon as it is made; who is slow gets the latest, and not those between."""

    def __init__(self, snapshot: Callable[[], Awaitable[Any]], every_sec: float = EVERY_SEC) -> None:
        self._snapshot = snapshot
        self._every_sec = every_sec
        self._of_user: Counter[int] = Counter()
        self._next: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None

    @property
    def watching(self) -> int:
        return self._of_user.total()

    def enter(self, user: int) -> bool:
        """Whether there is room for one more socket of this user."""
        if self.watching >= MOST or self._of_user[user] >= MOST_OF_USER:
            return False
        self._of_user[user] += 1
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        return True

    def leave(self, user: int) -> None:
        self._of_user[user] -= 1
        if not self._of_user[user]:
            del self._of_user[user]
        if not self.watching and self._task is not None:
            self._task.cancel()
            self._task = None

    def upcoming(self) -> asyncio.Future[Any]:
        """The next snapshot. Shared: it is not to be cancelled."""
        return self._next

    async def _run(self) -> None:
        while True:
            try:
                snapshot = await self._snapshot()
            except Exception:  # an edge: whoever watches then sees the one before
                logger.exception("no snapshot for the live page")
            else:
                made, self._next = self._next, asyncio.get_running_loop().create_future()
                made.set_result(snapshot)
            await asyncio.sleep(self._every_sec)
