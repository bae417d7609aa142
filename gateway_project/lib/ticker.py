"""One timer for everything that must be looked at now and then: a timer of its own would cost every turn dear."""

from __future__ import annotations

import asyncio
from typing import Protocol

EVERY_SEC = 0.1


class Watched(Protocol):
    """Anything that wants to be called now and then."""

    def look(self, now: float) -> None:
        """Called at every beat with the loop's time, until it is removed."""


class Pulse:
    """Beats while there is anything to look at, `every` seconds."""

    def __init__(self, every: float = EVERY_SEC) -> None:
        self._every = every
        self._watched: dict[Watched, None] = {}
        self.loop = asyncio.get_running_loop()
        """Kept for whoever is watched: to ask for the running loop is a system call (before Python 3.12)."""
        self._beating = False

    def add(self, watched: Watched) -> None:
        """Call it from the next beat on."""
        self._watched[watched] = None
        if not self._beating:
            self._beating = True
            self.loop.call_later(self._every, self._beat)

    def remove(self, watched: Watched) -> None:
        self._watched.pop(watched, None)

    def _beat(self) -> None:
        now = self.loop.time()
        # A copy: who is looked at may remove itself or others.
        for watched in list(self._watched):
            watched.look(now)
        # No timer while there is nothing to look at: an idle process does not wake up ten times a second.
        self._beating = bool(self._watched)
        if self._beating:
            self.loop.call_later(self._every, self._beat)
