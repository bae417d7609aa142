"""Instances are measured every half minute, in a thread."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import Final

from bridge.pool.disk import Disk
from bridge.pool.instances.measure import measured
from bridge.pool.members import Members
from gateway_project.lib.background import pause

EVERY_SEC: Final = 30.0
LOOK_SEC: Final = 2.0
"""A service that has just begun is measured so soon."""


class Measuring:
    """`follow()` has each instance that is started here know its measure, until it is cancelled."""

    def __init__(self, members: Members) -> None:
        self._members = members
        self._disk = Disk("measures")
        self._pids: list[int] = []
        self._next_at = float("-inf")

    async def follow(self) -> None:
        while True:
            pids = [each.pid for each in self._members.instances]
            if pids != self._pids or time.monotonic() >= self._next_at:
                self._pids, self._next_at = pids, time.monotonic() + EVERY_SEC
                await self.look()
            await pause(LOOK_SEC)

    async def look(self) -> None:
        """Once. A disk that hangs leaves what was known."""
        instances = [each for each in self._members.instances if each.work_dir is not None]
        places = [(each.pid, each.work_dir) for each in instances if each.work_dir is not None]
        with suppress(TimeoutError, OSError):
            for instance, found in zip(instances, await self._disk.run(partial(measured, places)), strict=True):
                instance.measure = found

    def close(self) -> None:
        self._disk.close()
