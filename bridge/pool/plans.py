"""Accounts whose plan is used up: their instances pause while somebody else can take the turns, and only then."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from bridge.pool.instances.breaker import Cause
from bridge.pool.instances.instance import Instance
from bridge.pool.members import Members
from bridge.status.states import TAKING_TURNS, InstanceState

PAUSING = (InstanceState.COOLING, InstanceState.READY)
"""Also one that a turn tries; not one that is held by order, or stops."""


class Plans:
    """`watch()` each instance. `seconds` is how long turns wait for a place."""

    def __init__(self, members: Members, seconds: float) -> None:
        self.are_elsewhere: Callable[[], bool] = lambda: False
        """Another machine takes turns."""
        self._members = members
        self._seconds = seconds

    def watch(self, instance: Instance) -> None:
        health = instance.health
        health.has_last_plan = lambda: not (self.are_elsewhere() or self.has_other({instance.name}, self._seconds))
        health.on_no_plan = lambda: self._pause_all_of(instance)

    def has_other(self, names: Collection[str], seconds: float) -> bool:
        """An instance of this machine can take a turn, or will within that time, and shares no login with these."""
        logins = {login for name, login in self._logins() if name in names} - {0}
        return any(
            each.state in TAKING_TURNS and each.name not in names and each.held_login not in logins
            for each in self._members.siblings.statuses()
        ) or any(
            self._may_serve(each, seconds) and each.name not in names and each.held_login not in logins
            for each in self._members.instances
        )  # fmt: skip

    def of_login(self, name: str) -> set[str]:
        """The instances that have the login of that one, without it if it has none."""
        logins = {login for other, login in self._logins() if other == name} - {0}
        return {other for other, login in self._logins() if login in logins}

    def pauses(self, name: str) -> bool:
        """That instance takes no turns now for its plan."""
        return any(each.health.cause is Cause.NO_PLAN and each.health.is_cooling for each in self._members.named(name))

    def reopened(self) -> bool:
        """Have those asked again that pause for their plan, where turns would wait for nobody else."""
        if self._members.ready:
            return False
        pausing = [
            each for each in self._members.instances if each.health.cause is Cause.NO_PLAN and each.state in PAUSING
        ]
        if not pausing or self.are_elsewhere() or self.has_other({each.name for each in pausing}, self._seconds):
            return False
        for each in pausing:
            each.health.reopen()
        return True

    def _may_serve(self, instance: Instance, seconds: float) -> bool:
        """One whose own plan is used up only if a turn may try it now."""
        has_plan = instance.health.cause is not Cause.NO_PLAN
        return instance.is_ready or (has_plan and instance.back_within(seconds))

    def _pause_all_of(self, instance: Instance) -> None:
        if instance.held_login:
            for each in self._members.instances:
                if each is not instance and each.held_login == instance.held_login:
                    each.health.pause_with(instance.health)

    def _logins(self) -> Iterator[tuple[str, int]]:
        yield from ((each.name, each.held_login) for each in self._members.instances)
        yield from ((each.name, each.held_login) for each in self._members.siblings.statuses())
