"""Short chats with instances, by order of a person or of the schedule: one at a time in a process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from bridge.pool.instances.instance import Instance
from bridge.pool.members import Members
from bridge.pool.options import InstanceOptions
from bridge.pool.upkeep.smoke import model_of, smoke_chat
from gateway_project.lib.secrets.random_bytes import random_bytes

IDLE_SEC: Final = 10.0
"""So long an instance may finish turns first; then it is asked beside them."""
LOOK_SEC: Final = 0.2

_new_id = random_bytes(16)


class SmokeTests:
    """`look()` begins those that are wanted; `changed` is called when one has ended."""

    def __init__(self, members: Members, options: InstanceOptions, changed: Callable[[], None]) -> None:
        self._members = members
        self._options = options
        self._changed = changed
        self._one = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def look(self) -> None:
        """Begin the tests that are ordered and not yet begun. One of a stopped instance begins when it may run."""
        for instance in self._members.instances:
            if not instance.is_stopped and instance.smokes.takes(instance.order.smoke_at):
                task = asyncio.get_running_loop().create_task(self._test(instance))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _test(self, instance: Instance) -> None:
        async with self._one:
            until = time.monotonic() + IDLE_SEC
            # An event would be one more thing for each turn to do.
            while instance.in_flight and time.monotonic() < until:  # noqa: ASYNC110 - as said
                await asyncio.sleep(LOOK_SEC)
            model = model_of(instance, self._options.smoke_model)
            smoke = await smoke_chat(instance, model, lambda: _new_id().hex(), self._options.smoke_sec)
        instance.smokes.last = smoke.report(instance, instance.smokes.last)
        self._changed()
