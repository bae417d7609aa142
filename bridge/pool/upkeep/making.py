"""How the instances of one process are made, and what they are called."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from bridge.pool.instances.instance import Instance
from bridge.pool.instances.work_dirs import in_use
from bridge.pool.logins.login_store import LoginStore
from bridge.pool.options import InstanceOptions, InstanceSpec
from gateway_project.lib.ticker import Ticker


class InstanceMaker:
    """`made` is called with each one before it is used."""

    def __init__(
        self, process_number: int, options: InstanceOptions, ticker: Ticker, made: Callable[[Instance], None]
    ) -> None:
        self.options = options
        self.login_store: LoginStore | None = None
        self.expects_logins = False
        self._process_number = process_number
        self._ticker = ticker
        self._made = made

    def name_of(self, number: int) -> str:
        name = f"w{self._process_number}-i{number}"
        return f"{self.options.node}-{name}" if self.options.node else name

    def make(self, name: str, spec: InstanceSpec, changed: Callable[[], None]) -> Instance:
        """One that is not started; `changed` is called with each change of it."""
        instance = Instance(name, self._process_number, spec, self.options, self._ticker, changed)
        instance.login.store, instance.login.is_expected = self.login_store, self.expects_logins
        self._made(instance)
        return instance

    def make_as_it_was(self, name: str, spec: InstanceSpec, changed: Callable[[], None]) -> Instance:
        """The same, with the work dir that was used last."""
        if spec.work_dir is not None:
            spec = msgspec.structs.replace(spec, work_dir=in_use(spec.work_dir))
        return self.make(name, spec, changed)

    def limit(self, turns: int) -> None:
        """So many at once has each one that is made from now on."""
        self.options = msgspec.structs.replace(self.options, limit=turns)
