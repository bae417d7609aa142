"""What is done with the instances of a process beside turns: as operators want it, or because it is time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import msgspec

from bridge.pool.instances.orders import EVERY, Order
from bridge.pool.late_usages import LateUsages
from bridge.pool.logins.login_store import LoginStore
from bridge.pool.members import Members
from bridge.pool.options import InstanceSpec
from bridge.pool.places import Places
from bridge.pool.upkeep.busy import Busy
from bridge.pool.upkeep.maintenance import MaintenanceWindows
from bridge.pool.upkeep.making import InstanceMaker
from bridge.pool.upkeep.measuring import Measuring
from bridge.pool.upkeep.replacements import ReplacementLease, Replacements
from bridge.pool.upkeep.sizing import Sizing, number_of
from bridge.pool.upkeep.smoke_tests import SmokeTests
from bridge.pool.upkeep.versions import Versions
from bridge.pool.upkeep.windows import Window
from bridge.status.states import InstanceState
from bridge.status.wanted import Mode
from gateway_project.lib.background import end, keep_going


class Upkeep:
    """`start()` it once, with the instances. `changed` is called whenever turns may find others than before.

    `places_each`: so many turns at once each instance brings along; 0: there are as many as at the start.
    """

    def __init__(
        self, members: Members, specs: Sequence[InstanceSpec], maker: InstanceMaker, places: Places,
        places_each: int, late_usages: LateUsages, changed: Callable[[], None],
    ) -> None:  # fmt: skip
        self.spec_of: Callable[[int], InstanceSpec] | None = None
        """Where an instance of that number comes from; None: there are as many as at the start."""
        by_name = {maker.name_of(number): spec for number, spec in enumerate(specs, 1)}
        members.instances.extend(maker.make_as_it_was(name, spec, changed) for name, spec in by_name.items())
        self.windows = MaintenanceWindows(self._obey)
        self._members = members
        self._maker = maker
        self._places = places
        self._places_each = places_each
        self._changed = changed
        self._replacements = Replacements(members, by_name, maker.make, maker.options, late_usages, changed)
        self.versions = Versions(by_name, self._replacements.want)
        self._sizing = Sizing(members, self._add, late_usages, maker.options.retire, self._resized)
        self._smoke_tests = SmokeTests(members, maker.options, changed)
        self._measuring = Measuring(members)
        self._busy = Busy(members)
        self._orders: Mapping[str, Order] | None = None
        """None: not known yet."""
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def is_held(self) -> bool:
        """All instances of this process are in a window, or held by order: nobody misses them."""
        instances = self._members.instances
        return all(bool(each.order.held_until) or self.windows.of(each.name) is not None for each in instances)

    def obey(self, orders: Mapping[str, Order], windows: Sequence[Window] = ()) -> None:
        """Do what operators want of each instance, by its name; EVERY is for those without an order of their own."""
        self._orders = orders
        self.windows.take(windows)
        self._obey()

    def resize(self, size: int) -> None:
        """Have so many instances: what is too much finishes its turns first."""
        if self.spec_of is not None:
            self._sizing.want(size)

    def replace(self, name: str, spec: InstanceSpec | None = None) -> None:
        """Have a successor of that kind, or of its own, take the place of an instance, without a gap.

        It is tried again with growing pauses as long as it fails; the instance goes on meanwhile, and says so in its
        status (`not_replaced`). The work dir of `spec` does not matter.
        Raise KeyError for an unknown name, and for an attached instance.
        """
        self._replacements.ask_for(name, spec)

    def share_replacements(self, lease: ReplacementLease) -> None:
        """Other processes replace instances of the same logins."""
        self._replacements.lease = lease

    def take_logins_from(self, store: LoginStore) -> None:
        """Instances get the logins that operators want them to have from there. Before they start."""
        self._maker.login_store = store
        for instance in self._members.instances:
            instance.login.store = store

    def expect_logins(self, *, expected: bool) -> None:
        """Set whether instances without a login are about to be given one: turns wait for that."""
        if expected != self._maker.expects_logins:
            self._maker.expects_logins = expected
            for instance in (*self._members.instances, *self._members.successors.values()):
                instance.login.is_expected = expected
            self._changed()

    async def look_after_logins(self) -> None:
        """One round: fetch, store and report. Raise StoreAway."""
        for instance in self._members.in_service():
            await instance.login.tick()
        self._replacements.wake()  # another login may be at hand

    def without_login(self) -> list[str]:
        """The names of those that nobody is logged in to, and that no login of ours is meant for."""
        lost = (each for each in self._members.instances if each.state is InstanceState.LOGIN_REQUIRED)
        return [each.name for each in lost if each.login.may_be_given]

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        followed = (self._replacements, self._measuring, self.windows, self._sizing, self._busy)
        self._tasks = [loop.create_task(keep_going(each.follow)) for each in followed]

    async def stop(self) -> None:
        """The instances stay as they are."""
        await end(self._tasks)
        self._smoke_tests.close()
        self._replacements.close()
        self._measuring.close()

    def _resized(self) -> None:
        """Others stay than before, or one has left."""
        self._share_places()
        self._obey()
        self._changed()

    def _add(self, number: int) -> None:
        assert self.spec_of is not None  # noqa: S101 - else nothing is ever added
        name, spec = self._maker.name_of(number), self.spec_of(number)
        self._replacements.learn(name, spec)
        self.versions.learn(name, spec)
        instance = self._maker.make_as_it_was(name, spec, self._changed)
        self._members.instances.append(instance)
        self._members.instances.sort(key=lambda each: number_of(each.name))
        self._share_places()
        if self._orders is not None:
            instance.obey(self._order_of(name))
            self.versions.obey(instance)
        self._members.start(instance)

    def _share_places(self) -> None:
        """Among the instances that stay."""
        size, instances = self._sizing.size, self._members.instances
        if self._places_each:
            # Those that leave still have turns.
            self._places.most = self._places_each * max(size, len(instances))
        limit = self._places_each or -(-self._places.most // size)
        self._maker.limit(limit)
        for instance in (*instances, *self._members.successors.values()):
            instance.limit = limit

    def _order_of(self, name: str) -> Order:
        order = (self._orders or {}).get(name) or (self._orders or {}).get(EVERY, Order())
        if (window := self.windows.of(name)) is not None:
            order = msgspec.structs.replace(order, maintenance=window)
        if self._sizing.leaves(name) and order.mode is Mode.RUN:
            order = msgspec.structs.replace(order, mode=Mode.DRAIN)
        return order

    def _obey(self) -> None:
        if self._orders is None:
            return
        for instance in (*self._members.instances, *self._members.successors.values()):
            instance.succession.is_over = self._sizing.leaves(instance.name)
            instance.obey(self._order_of(instance.name))
        for instance in self._members.instances:
            self.versions.obey(instance)
        self._smoke_tests.look()
        self._replacements.wake()
