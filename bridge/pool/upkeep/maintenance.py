"""Opens and closes maintenance windows by the clock of this process: nobody else has to be there at that second."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from bridge.pool.upkeep import windows
from bridge.pool.upkeep.windows import Occurrence, Window
from bridge.status.wanted import Maintenance

LOOK_SEC: Final = 0.5
AGAIN_SEC: Final = 60.0
"""So often everything is looked at again: the clock may have been set."""


class MaintenanceWindows:
    """`changed` is called when others are open than before; `follow()` until it is cancelled."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.open: list[Occurrence] = []
        self.on_change: Callable[[], None] = lambda: None
        """Called after `changed`, and when it is first known which there are."""
        self._changed = changed
        self._windows: Sequence[Window] = ()
        self._known = False
        self._next_at = math.inf
        self._taken = asyncio.Event()

    def take(self, those: Sequence[Window]) -> None:
        """Those that there are from now on."""
        is_first, self._known = not self._known, True
        if those != self._windows:
            self._windows = those
            self._look()
            self._taken.set()
        if is_first:
            self.on_change()

    def of(self, instance: str) -> Maintenance | None:
        return windows.maintenance_of(instance, self.open)

    async def follow(self) -> None:
        while True:
            self._taken.clear()
            self._look()
            looked = time.time()
            # In short steps by the clock on the wall: a sleep of hours would not notice that it was set.
            step = LOOK_SEC if self._windows else AGAIN_SEC
            while looked <= time.time() < min(self._next_at, looked + AGAIN_SEC) and not self._taken.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(step, max(0.01, self._next_at - time.time()))):
                        await self._taken.wait()

    def _look(self) -> None:
        now = time.time()
        found, self._next_at = windows.open_at(self._windows, now), windows.next_change(self._windows, now)
        if found != self.open:
            self.open = found
            self._changed()
            self.on_change()
