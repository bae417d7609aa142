"""The feed of the live page: one snapshot a second for all who watch, and none while nobody does."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

logger = logging.getLogger(__name__)

EVERY_SEC = 1.0
MOST, MOST_OF_USER = 64, 8
"""Sockets of this process, and of them those of one user."""


class LiveFeed:
    """Who watches gets each snapshot as soon as it is made; who is slow gets the latest, and not those between."""

    def __init__(self, snapshot: Callable[[], str], every_sec: float = EVERY_SEC) -> None:
        self._snapshot = snapshot
        self._every_sec = every_sec
        self._of_user: Counter[int] = Counter()
        self._next: asyncio.Future[str] = asyncio.get_running_loop().create_future()
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

    def upcoming(self) -> asyncio.Future[str]:
        """The next snapshot. Shared: it is not to be cancelled."""
        return self._next

    async def _run(self) -> None:
        while True:
            try:
                text = self._snapshot()
            except Exception:  # an edge: whoever watches then sees the one before
                logger.exception("no snapshot for the live page")
            else:
                made, self._next = self._next, asyncio.get_running_loop().create_future()
                made.set_result(text)
            await asyncio.sleep(self._every_sec)
