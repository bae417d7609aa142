"""The instances of this process, and what they and those of the other processes offer together."""

from __future__ import annotations

import asyncio
import math

import msgspec

from bridge.lingma.dialects.base import Model
from bridge.pool.instances.instance import Instance
from bridge.pool.siblings import ALONE, SiblingPools
from bridge.status.instance import InstanceStatus


class Members:
    """`start()` them once; they become ready in their own time."""

    def __init__(self, instances: list[Instance]) -> None:
        self.instances = instances
        self.siblings: SiblingPools = ALONE
        """The other processes of this gateway."""
        self.successors: dict[str, Instance] = {}
        """Those that are started beside an instance of their name, to take its place."""
        self.retired: dict[str, Instance] = {}
        """The last one of each name whose place was taken; it finishes the turns it has."""
        self._runs: dict[Instance, asyncio.Task[None]] = {}

    @property
    def ready(self) -> bool:
        """At least one instance can take a turn, if only one of another process."""
        return any(instance.is_ready for instance in self.instances) or self.siblings.ready

    def statuses(self) -> list[InstanceStatus]:
        return [self._status(instance) for instance in self.instances]

    def all_statuses(self) -> list[InstanceStatus]:
        return self.statuses() + self.siblings.statuses()

    def own_models(self) -> list[Model]:
        """The models of this process's accounts, each once, in the order in which the service lists them."""
        return list({model.key: model for instance in self.instances for model in instance.account.models}.values())

    def models(self) -> list[Model]:
        # Own models last: of one key the later entry wins, and what this process has read itself is fresher.
        return list({model.key: model for model in (*self.siblings.models(), *self.own_models())}.values())

    def model_names(self) -> dict[str, str]:
        """The names those go by, display names in lower case, to their keys."""
        names = [each.model_names for each in self.siblings.statuses()]
        names += [instance.account.model_names for instance in self.instances]
        # The same: names of this process win.
        return {name: key for each in names for name, key in each.items()}

    def back_within(self, seconds: float) -> bool:
        """Whether one of this process may take turns in less than so many seconds without anybody's help."""
        there = (*self.instances, *self.successors.values())
        return any(each.back_within(seconds) or each.succession.is_awaited for each in there)

    def back_in(self) -> float:
        """Seconds until one of this process may be back; infinity: nobody knows.

        Of one that is there at any moment as long again as it has been away: what takes long goes on taking long.
        """
        there = (*self.instances, *self.successors.values())
        return min((each.away_for if each.back_within(0) else each.back_in() for each in there), default=math.inf)

    def _status(self, instance: Instance) -> InstanceStatus:
        """With the turns that go on where it took over."""
        status, before = instance.status(), self.retired.get(instance.name)
        if before is None or not before.in_flight:
            return status
        return msgspec.structs.replace(status, in_flight=status.in_flight + before.in_flight)

    def named(self, name: str) -> list[Instance]:
        """The one of that name, and the one whose place it took."""
        before = self.retired.get(name)
        return [each for each in self.instances if each.name == name] + ([before] if before is not None else [])

    def in_service(self) -> list[Instance]:
        """Those that have a place, and those that finish their turns."""
        return [*self.instances, *(each for each in self.retired.values() if each in self._runs)]

    def start(self, instance: Instance) -> None:
        self._runs[instance] = asyncio.get_running_loop().create_task(instance.run())

    async def end(self, instance: Instance) -> None:
        """End this one, and whatever still runs on it."""
        instance.stop()
        if instance in self._runs:
            await asyncio.wait({self._runs[instance]})
            self._runs.pop(instance, None)  # somebody else may have ended it meanwhile

    async def end_others(self, name: str) -> None:
        """End what has that name and no place, should any still run."""
        for each in [each for each in self._runs if each.name == name and each not in self.instances]:
            await self.end(each)

    async def stop(self) -> None:
        """End every one of them, and whatever still runs on it."""
        for instance in (*self.instances, *self._runs):
            instance.stop()
        # `asyncio.wait` raises for an empty set, and a process may have no instance.
        if self._runs:
            await asyncio.wait(set(self._runs.values()))

    def end_turns(self, why: str) -> None:
        """Fail every running turn of this process, wherever it runs."""
        for instance in dict.fromkeys((*self.instances, *self._runs)):
            instance.end_turns(why)
        self.siblings.end_turns(why)
