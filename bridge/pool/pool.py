"""The pool as turns and the other web processes use it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

import msgspec

from bridge.chat.errors import GatewayError, LoggedOut, NoPlan, RateLimited
from bridge.lingma.dialects.base import Model
from bridge.pool import policy
from bridge.pool.instances.instance import Instance
from bridge.pool.late_usages import LateUsages
from bridge.pool.lease import Lease, Waiter
from bridge.pool.members import Members
from bridge.pool.options import InstanceOptions, InstanceSpec, PoolOptions
from bridge.pool.places import Places
from bridge.pool.plans import Plans
from bridge.pool.policy import Affinity, Line, Owner
from bridge.pool.queue import TurnQueue
from bridge.pool.remote import RemoteInstance
from bridge.pool.shares import Shares
from bridge.pool.siblings import SiblingPools
from bridge.pool.upkeep.making import InstanceMaker
from bridge.pool.upkeep.upkeep import Upkeep
from bridge.pool.wait_policy import WaitPolicy
from bridge.status.instance import InstanceStatus
from gateway_project.lib.ticker import EVERY_SEC, Ticker

NOBODY = Owner()
NOT_READY = -1


class Pool:
    """`start()` it once; then `lease()`, or `queue()` when that finds no place. `upkeep` takes what operators want."""

    def __init__(
        self, specs: Sequence[InstanceSpec], process_number: int, options: PoolOptions, instances: InstanceOptions
    ) -> None:
        self.options = options
        self.on_change: Callable[[], None] = lambda: None
        self.has_room_elsewhere: Callable[[], bool] = lambda: False
        """Another machine has a free place: a turn may be tried there although no instance of this one is there."""
        self.lends = True
        """Other processes may borrow places; not of a process that stops."""
        self.turn_limits = instances.turn
        # One timer for all turns. A fifth of the interval bounds how late a keep-alive can be.
        self.ticker = Ticker(min(EVERY_SEC, instances.turn.keepalive_sec / 5))
        """Calls every turn, and whatever else lives as long as one."""
        self.late_usages = LateUsages(self.ticker)
        self.instances: list[Instance] = []
        self._members = Members(self.instances)
        self.plans = Plans(self._members, options.queue_timeout)
        self._places = Places(self.instances, options.max_in_flight)
        self.upkeep = Upkeep(
            self._members, specs, InstanceMaker(process_number, instances, self.ticker, self._made), self._places,
            options.places_each, self.late_usages, self._instance_changed,
        )  # fmt: skip
        self._queue = TurnQueue(self._members, self._places)
        self._wait_policy = WaitPolicy(
            self._members, self._places, self._queue, options.max_queue, options.retry_unknown
        )
        self._loop = asyncio.get_running_loop()

    @property
    def siblings(self) -> SiblingPools:
        """The other web processes of this gateway; without any, `ALONE`."""
        return self._members.siblings

    @siblings.setter
    def siblings(self, siblings: SiblingPools) -> None:
        self._members.siblings = siblings

    @property
    def shares(self) -> Shares:
        return self._places.shares

    @property
    def in_flight(self) -> int:
        """Turns that run on instances of this process."""
        return self._places.in_flight

    @property
    def most(self) -> int:
        """Turns at once on all of them."""
        return self._places.most

    @property
    def waiting(self) -> int:
        return self._queue.waiting

    @property
    def ready(self) -> bool:
        """At least one instance can take a turn, if only one of another process."""
        return self._members.ready

    def has_another(self, excluded: Collection[str]) -> bool:
        """An instance beside these can take a turn."""
        return self._members.siblings.ready or any(
            each.is_ready and each.name not in excluded for each in self.instances
        )

    def likely_to_refuse(self, name: str, error: GatewayError) -> set[str]:
        """Instances that may well refuse a turn as that one has: those of the same login, or, after a rate limit, those
        that nobody has asked since their own pause. One turn is not the one to find out about all of them.
        """
        refusing = self.plans.of_login(name) if isinstance(error, (LoggedOut, NoPlan)) else set()
        if isinstance(error, (RateLimited, NoPlan)):
            refusing |= {each.name for each in self.instances if each.health.wants_probe}
        return refusing

    def has_other_plan(self, names: Collection[str], until: float) -> bool:
        """An instance beside these, of another login, can take a turn by then."""
        return self.plans.has_other(names, until - self._loop.time())

    def logs_in_again(self, name: str, until: float) -> bool:
        """The login of that instance, which a turn was told is lost, may be there again by then without a person."""
        left = until - self._loop.time()
        return any(each.name == name and each.login.back_in(0.0) < left for each in self.instances)

    @property
    def is_here_soon(self) -> bool:
        """An instance of this process takes turns, or has failed a moment ago and comes back."""
        return any(each.is_ready or each.is_coming_back for each in self.instances)

    @property
    def free(self) -> int:
        """Places that a turn could take now."""
        return self._places.free

    def turns_by_instance(self) -> dict[str, int]:
        """Turns that each instance of this process has by its name, NOT_READY for one that takes none."""
        return {each.name: each.in_flight if each.is_ready else NOT_READY for each in self.instances}

    def statuses(self) -> list[InstanceStatus]:
        """All instances of this process, for heartbeats."""
        return [msgspec.structs.replace(each, waiting=self.waiting) for each in self._members.statuses()]

    def named(self, name: str) -> list[Instance]:
        """The instance of that name, and the one whose place it took."""
        return self._members.named(name)

    def all_statuses(self) -> list[InstanceStatus]:
        """Those of the other processes too, for readiness."""
        return self._members.all_statuses()

    def own_models(self) -> list[Model]:
        """The models of this process's accounts, each once."""
        return self._members.own_models()

    def models(self) -> list[Model]:
        return self._members.models()

    def model_names(self) -> dict[str, str]:
        """The names those go by, display names in lower case, to their keys."""
        return self._members.model_names()

    def start(self) -> None:
        for instance in self.instances:
            self._members.start(instance)
        self.upkeep.start()

    async def stop(self) -> None:
        """End every instance and whatever still runs on them."""
        await self.upkeep.stop()  # first: what it has started is ended with all others
        await self._members.stop()

    def end_turns(self, why: str) -> None:
        """Fail every running turn, and every one that waits. None begins any more, not even once more."""
        # Before anything fails: a turn that fails is asked again at once, and must find the door shut.
        self._places.closed = why
        self._members.end_turns(why)
        for waiter in self._queue.clear():
            waiter.lease.set_exception(self._wait_policy.unavailable())

    def lease(
        self,
        affinity: Affinity | None = None,
        excluded: Collection[str] = (),
        owner: Owner = NOBODY,
        until: float | None = None,
    ) -> Lease | None:
        """A place now, or None when there is none yet or others wait already.

        Raise Unavailable when no instance can have one by `until`, a time of the loop.
        """
        # Nobody overtakes those who wait, not even with a place that is free for a moment.
        lease = None if self._queue.lines.count else self._queue.take(affinity, excluded, owner)
        if lease is None and self.plans.reopened() and not self._queue.lines.count:
            lease = self._queue.take(affinity, excluded, owner)
        if lease is None and not (self._wait_policy.may_be_served(self._until(until)) or self.has_room_elsewhere()):
            raise self._wait_policy.unavailable()
        return lease

    def queue(
        self,
        affinity: Affinity | None = None,
        excluded: Collection[str] = (),
        owner: Owner = NOBODY,
        until: float | None = None,
        *,
        again: bool = False,
    ) -> Waiter:
        """Wait in line. Raise Overloaded when the queue is full, or this key's share of it.

        `again`: the turn had a place before; it waits in front, and in a full queue too.
        """
        # A turn that had a place was admitted once. Refusing it now would waste what it has waited and cost.
        if not again:
            self._wait_policy.require_room(owner)
        waiter = Waiter(owner, affinity, excluded, self._until(until), self._queue.remove)
        self._queue.add(waiter, first=again)
        return waiter

    def queue_with_care(
        self, care: int, rank: float, excluded: Collection[str], owner: Owner, until: float, *, again: bool
    ) -> Waiter:
        """Wait for a place where nothing else is in doubt (`care` 1) or runs (2); the lowest rank comes first.

        Raise Overloaded, and Unavailable when no instance of this process can be there by `until`.
        """
        if not again:
            self._wait_policy.require_room(owner)
        # A place with care cannot be borrowed, so other processes do not count here.
        if not self._wait_policy.may_be_served_here(until):
            raise self._wait_policy.unavailable()
        waiter = Waiter(owner, None, excluded, until, self._queue.remove)
        waiter.care, waiter.rank = care, rank
        self._queue.add_careful(waiter)
        return waiter

    def timed_out(self) -> GatewayError:
        """The refusal of a turn that has waited as long as it may."""
        return self._wait_policy.timed_out()

    def retry_after(self) -> int:
        """Whole seconds after which a turn that could not be answered may be sent again."""
        return self._wait_policy.retry_after()

    @property
    def borrowing(self) -> int:
        """Turns that would take a place of another process. Those in doubt need more than a place."""
        return self._queue.lines.count

    def next_line(self) -> Line:
        """The line whose turn is the next to get a place."""
        return self._queue.next_line()

    def lend(self, line: Line) -> Lease | None:
        """A place for a turn of another process, counted there; None when turns of this one come first.

        `line` is who waits for it.
        """
        # Lending is fair over all processes: a key that holds more places waits, wherever its turn is.
        ours = self._queue.lines.count and not policy.goes_first(line, self.next_line())
        if ours or not self.lends:
            return None
        # No owner: the borrower counts the place for its own turn, and counting it twice would be unfair to the key.
        return self._queue.take(None, (), None)

    def take_in(self, instance: RemoteInstance) -> bool:
        """Give a borrowed place to the first in line; whether anybody wants it."""
        waiter = self._queue.pop()
        if waiter is None:
            return False
        waiter.lease.set_result(self._places.take_borrowed(instance, waiter.owner))
        return True

    def siblings_changed(self) -> None:
        self._instance_changed()

    def _made(self, instance: Instance) -> None:
        instance.health.is_alone = lambda: not self.has_another((instance.name,))
        self.plans.watch(instance)

    def _instance_changed(self) -> None:
        # First: other processes learn of it before turns are placed here.
        self.on_change()
        self.plans.reopened()
        if self.ready:
            self._queue.serve()
            return
        # Who waits looks there, too.
        if self.has_room_elsewhere() and not self._places.closed:
            return
        # Nobody waits in vain: who could only be served by an instance that is gone for longer is refused now.
        for waiter in self._queue.everybody():
            if not self._wait_policy.may_be_served(waiter.until):
                self._queue.remove(waiter)
                waiter.lease.set_exception(self._wait_policy.unavailable())

    def _until(self, until: float | None) -> float:
        return self._loop.time() + self.options.queue_timeout if until is None else until


def retry_hint(error: GatewayError, pool: Pool) -> GatewayError:
    """The service's own rate limit (finish 429) and a login that is gone say no time; ours stands in."""
    if error.status in {429, 503} and error.retry_after is None:
        error.retry_after = pool.retry_after()
    return error
