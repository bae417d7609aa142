"""The instances of one other process, as its last snapshot shows them: what a turn of this one may run on."""

from __future__ import annotations

from bridge.lingma.dialects.base import Model
from bridge.pool.policy import Affinity
from bridge.siblings.messages import Snapshot
from bridge.status.instance import InstanceStatus


class OfferedInstances:
    def __init__(self) -> None:
        self.statuses: list[InstanceStatus] = []
        self.models: list[Model] = []
        self._by_affinity: dict[Affinity, InstanceStatus] = {}
        """Those that take turns, each in its present run."""

    @property
    def ready(self) -> bool:
        """One of them can take turns."""
        return bool(self._by_affinity)

    def model_names(self, affinity: Affinity) -> dict[str, str] | None:
        """The names of its models to their keys; None when it is not in that run any more."""
        status = self._by_affinity.get(affinity)
        return status.model_names if status is not None else None

    def update(self, snapshot: Snapshot) -> bool:
        """Take over a snapshot; True when turns have other instances or models to choose from."""
        before = set(self._by_affinity), self.models
        self.statuses, self.models = snapshot.instances, snapshot.models
        self._by_affinity = {
            Affinity(each.name, each.generation): each for each in snapshot.instances if each.state.takes_turns
        }
        return (set(self._by_affinity), self.models) != before
