"""More or fewer instances while the process runs: added at once, taken away when their turns have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec

from bridge.pool.instances.instance import Instance
from bridge.pool.late_usages import LateUsages
from bridge.pool.members import Members

POLL_SEC: Final = 0.1
LOOK_SEC: Final = 30.0
LATE_SEC: Final = 5.0
"""So long what its turns have cost may still come into the log of its service."""


class _Leaving(msgspec.Struct):
    """Times are those of the loop."""

    since: float
    idle_since: float


class Sizing:
    """`want()` a number at any time; `follow()` makes it so until it is cancelled.

    `add` puts an instance of that number into the pool, which is not there; `changed` is called when others leave or
    stay than before, and when one has left. After `retire` seconds turns that are left are ended.
    """

    def __init__(
        self, members: Members, add: Callable[[int], None], late_usages: LateUsages, retire: float,
        changed: Callable[[], None],
    ) -> None:  # fmt: skip
        self.size = len(members.instances)
        self._members = members
        self._add = add
        self._late_usages = late_usages
        self._retire = retire
        self._changed = changed
        self._leaving: dict[str, _Leaving] = {}
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def want(self, size: int) -> None:
        if size != self.size:
            self.size = size
            self._changed()
            self._wake.set()

    def leaves(self, name: str) -> bool:
        """It takes no turns any more."""
        return number_of(name) > self.size

    async def follow(self) -> None:
        while True:
            self._wake.clear()
            await self._look()
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SEC if self._leaving else LOOK_SEC):
                    await self._wake.wait()

    async def _look(self) -> None:
        leaving = [each for each in self._members.instances if self.leaves(each.name)]
        names = {each.name for each in leaving}
        self._leaving = {name: each for name, each in self._leaving.items() if name in names}
        for instance in leaving:
            # Looked at once more: to take another one away may take seconds.
            if self.leaves(instance.name) and instance in self._members.instances and self._may_go(instance):
                await self._take_away(instance)
        there = {number_of(each.name) for each in self._members.instances}
        for number in [each for each in range(1, self.size + 1) if each not in there]:
            self._add(number)

    def _may_go(self, instance: Instance) -> bool:
        now = self._loop.time()
        leaving = self._leaving.setdefault(instance.name, _Leaving(now, now))
        if instance.in_flight:
            leaving.idle_since = now
        # A successor that is on its way has to be there or thrown away first.
        if instance.succession.is_under_way:
            return False
        is_late = not self._late_usages.waits_for(instance.log) or now - leaving.idle_since >= LATE_SEC
        return (not instance.in_flight and is_late) or now - leaving.since >= self._retire

    async def _take_away(self, instance: Instance) -> None:
        # Two services never share a work dir: it has ended before one of its name can be added again.
        self._members.instances.remove(instance)
        del self._leaving[instance.name]
        self._changed()
        await self._members.end(instance)
        await self._members.end_others(instance.name)
        self._members.retired.pop(instance.name, None)


def number_of(name: str) -> int:
    """Of an instance, within its process."""
    return int(name.rpartition("-i")[2])
