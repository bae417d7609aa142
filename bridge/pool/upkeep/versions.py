"""Which version each instance of this process is to run: the wanted one, else what the settings say."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bridge.pool.instances.instance import Instance
from bridge.pool.options import InstanceSpec
from bridge.status.versions import WantedVersion

SpecOf = Callable[[InstanceSpec, WantedVersion], InstanceSpec]
"""From what the settings say and a version: what runs it."""


class Versions:
    """`specs` are by name, as the settings say; `want` has an instance be of a kind."""

    def __init__(self, specs: Mapping[str, InstanceSpec], want: Callable[[Instance, InstanceSpec], None]) -> None:
        self.spec_of: SpecOf | None = None
        self._specs = dict(specs)
        self._want = want
        self._wanted: dict[str, WantedVersion | None] = {}

    def learn(self, name: str, spec: InstanceSpec) -> None:
        """Of an instance that is new, or there again."""
        self._specs[name] = spec
        self._wanted.pop(name, None)

    def obey(self, instance: Instance) -> None:
        """Have it run what its order says. What is attached runs what it runs."""
        name, wanted = instance.name, instance.order.version
        if self.spec_of is None or instance.work_dir is None or wanted == self._wanted.get(name):
            return
        self._wanted[name] = wanted
        self._want(instance, self.spec_of(self._specs[name], wanted) if wanted else self._specs[name])
