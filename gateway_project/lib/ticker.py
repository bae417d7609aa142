"""One timer for everything that checks something now and then: a timer of its own would cost every turn dear."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

logger = logging.getLogger(__name__)

EVERY_SEC = 0.1


class Ticking(Protocol):
    """Anything that is called now and then."""

    def tick(self, now: float) -> None:
        """Called at every tick with the loop's time, until it is removed."""


class Ticker:
    """Ticks every `every` seconds, while anything has been added."""

    def __init__(self, every: float = EVERY_SEC) -> None:
        self._every = every
        self._ticking: dict[Ticking, None] = {}
        self.loop = asyncio.get_running_loop()
        """For whoever is added: to ask for the running loop is a system call (before Python 3.12)."""
        self._is_running = False

    def add(self, ticking: Ticking) -> None:
        """Call it from the next tick on."""
        self._ticking[ticking] = None
        if not self._is_running:
            self._is_running = True
            self.loop.call_later(self._every, self._tick)

    def remove(self, ticking: Ticking) -> None:
        self._ticking.pop(ticking, None)

    def _tick(self) -> None:
        now = self.loop.time()
        # A copy: who is called may remove itself or others.
        for ticking in list(self._ticking):
            try:
                ticking.tick(now)
            except Exception:  # an edge: all others would lose their keep-alives and their ends
                logger.exception("a tick of %s failed", type(ticking).__name__)
        # No timer while there is nobody to call: an idle process does not wake up ten times a second.
        self._is_running = bool(self._ticking)
        if self._is_running:
            self.loop.call_later(self._every, self._tick)
