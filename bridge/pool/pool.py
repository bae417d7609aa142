"""The instances of this process, and the turns that wait for one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Sequence

from bridge.chat.errors import GatewayError, Overloaded, Unavailable
from bridge.lingma.dialects.base import Model
from bridge.pool import policy
from bridge.pool.careful import Careful
from bridge.pool.instance import Instance
from bridge.pool.lines import Lines
from bridge.pool.neighbours import Neighbours
from bridge.pool.options import InstanceOptions, InstanceSpec, PoolOptions
from bridge.pool.policy import Affinity, Line, Owner
from bridge.pool.remote import RemoteInstance
from bridge.pool.shares import Shares
from bridge.status.instance import InstanceStatus
from bridge.status.states import InstanceState
from gateway_project.lib.ticker import EVERY_SEC, Pulse

NOBODY = Owner()
AnyInstance = Instance | RemoteInstance


class Lease:
    """One place on one instance, until `release()`; releasing twice does nothing."""

    __slots__ = ("_owner", "_pool", "_taken_at", "in_doubt", "instance")

    def __init__(self, pool: Pool, instance: AnyInstance, owner: Owner | None, taken_at: float) -> None:
        self.instance = instance
        self.in_doubt = False
        self._pool: Pool | None = pool
        self._owner = owner
        self._taken_at = taken_at

    def release(self) -> None:
        """Give the place back."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.give_back(self.instance, self._owner, self._taken_at)


class Waiter:
    """A turn in the queue. `lease` is a Future of its Lease; `leave()` when nobody wants it any more."""

    care = 0
    """More than that: it waits among the turns in doubt."""
    rank = 0.0
    """Its place among them."""

    def __init__(
        self, pool: Pool, owner: Owner, affinity: Affinity | None, excluded: Collection[str], until: float
    ) -> None:
        self.lease: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        self.owner = owner
        self.affinity = affinity
        self.excluded = excluded
        self.until = until
        self._pool = pool

    def leave(self) -> None:
        """Leave the queue; a lease that came in the same moment goes back."""
        self._pool.forget(self)
        if not self.lease.cancel() and self.lease.exception() is None:
            self.lease.result().release()


class Pool:
    """`start()` it once; then `lease()`, or `queue()` when that finds no place."""

    def __init__(
        self, specs: Sequence[InstanceSpec], process_number: int, options: PoolOptions, instances: InstanceOptions
    ) -> None:
        self.options = options
        self.in_flight = 0
        self.on_change: Callable[[], None] = lambda: None
        """Called when an instance changes its state."""
        self.neighbours: Neighbours | None = None
        """The other processes of this gateway, if there are any."""
        self.lends = True
        """Other processes may borrow places; not of a process that stops."""
        self.turn_limits = instances.turn
        self.pulse = Pulse(min(EVERY_SEC, instances.turn.keepalive_sec / 5))
        """Looks after every turn, and whatever else lives as long as one."""
        self.instances = [
            Instance(name, process_number, spec, instances, self.pulse, self._instance_changed)
            for name, spec in zip(_names(specs, process_number), specs, strict=True)
        ]
        self.shares = Shares()
        self._waiters: Lines[Waiter] = Lines(self.shares)
        self._careful: Careful[Waiter] = Careful(self._serve_waiters)
        self._last = -1
        self._closed = ""
        self._turn_sec = 5.0  # a moving average, for Retry-After
        self._runs: list[asyncio.Task[None]] = []
        self._loop = asyncio.get_running_loop()

    # -- what operators see -------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Turns in the queue."""
        return self._waiters.count + len(self._careful.waiting)

    @property
    def ready(self) -> bool:
        """At least one instance can take a turn, if only one of another process."""
        here = any(instance.state is InstanceState.READY for instance in self.instances)
        return here or (self.neighbours is not None and self.neighbours.ready)

    @property
    def free(self) -> int:
        """Places that a turn could take now."""
        rooms = [
            max(0, each.limit - each.in_flight) for each in (one.candidate for one in self.instances) if each.ready
        ]
        return max(0, min(self.options.max_in_flight - self.in_flight, sum(rooms)))

    def facts(self) -> list[InstanceStatus]:
        """All instances of this process, for heartbeats."""
        return [instance.facts() for instance in self.instances]

    def all_facts(self) -> list[InstanceStatus]:
        """Those of the other processes too, for readiness."""
        return self.facts() + (self.neighbours.facts() if self.neighbours is not None else [])

    def own_models(self) -> list[Model]:
        """What the accounts of this process offer, each once, in the order the service tells them."""
        return list({model.key: model for instance in self.instances for model in instance.account.models}.values())

    def models(self) -> list[Model]:
        """What all accounts offer."""
        elsewhere = self.neighbours.models() if self.neighbours is not None else []
        return list({model.key: model for model in (*elsewhere, *self.own_models())}.values())

    def model_names(self) -> dict[str, str]:
        """The names those go by, display names in lower case, to their keys."""
        names = [each.model_names for each in self.neighbours.facts()] if self.neighbours is not None else []
        names += [instance.account.model_names for instance in self.instances]
        return {name: key for each in names for name, key in each.items()}

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start every instance; they become ready in their own time."""
        self._runs = [self._loop.create_task(instance.run()) for instance in self.instances]

    async def stop(self) -> None:
        """End every instance and whatever still runs on them."""
        for instance in self.instances:
            instance.stop()
        if self._runs:
            await asyncio.wait(self._runs)

    def end_turns(self, why: str) -> None:
        """Fail every running turn, and every one that waits. None begins any more, not even once more."""
        self._closed = why
        for instance in self.instances:
            instance.end_turns(why)
        if self.neighbours is not None:
            self.neighbours.end_turns(why)
        for waiter in [*self._waiters.clear(), *self._careful.clear()]:
            waiter.lease.set_exception(Unavailable(why))

    # -- turns --------------------------------------------------------------------------------------------------

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
        if affinity is not None and self.neighbours is not None and self.neighbours.holds(affinity):
            return None  # whoever waits for it asks there
        lease = None if self._waiters.count else self._take(affinity, excluded, owner)
        if lease is None and not self._is_hopeful(self._until(until)):
            raise self._unavailable()
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
        if not again:
            self._require_room(owner)
        waiter = Waiter(self, owner, affinity, excluded, self._until(until))
        if self.neighbours is None or not self.neighbours.borrow(waiter):
            self._line_up(waiter, first=again)
        return waiter

    def queue_with_care(
        self, care: int, rank: float, excluded: Collection[str], owner: Owner, until: float, *, again: bool
    ) -> Waiter:
        """Wait for a place where nothing else is in doubt (`care` 1) or runs (2); the lowest rank comes first.

        Raise Overloaded, and Unavailable when no instance of this process can be there by `until`.
        """
        if not again:
            self._require_room(owner)
        if not self._is_hopeful_here(until):
            raise self._unavailable()
        waiter = Waiter(self, owner, None, excluded, until)
        waiter.care, waiter.rank = care, rank
        self._careful.add(waiter)
        self._serve_waiters()
        return waiter

    def _require_room(self, owner: Owner) -> None:
        of_key, most = self._waiters.of(owner.key) + self._careful.of(owner.key), self.options.max_queue
        waiting = self.waiting
        if self.neighbours is not None:
            most += self.neighbours.free  # who takes one of those hardly waits
        if waiting >= most:
            raise self.overloaded("The queue is full", most, waiting)
        if not policy.may_wait(of_key, waiting, most):
            raise self.overloaded("This API key's share of the queue is full", most - waiting, of_key)

    def timed_out(self) -> GatewayError:
        """The refusal of a turn that has waited as long as it may."""
        return self.overloaded("No place became free in time") if self.ready else self._unavailable()

    def overloaded(self, what: str, allowed: int | None = None, value: int | None = None) -> Overloaded:
        """The refusal of a turn for lack of a place."""
        return Overloaded(
            f"{what}: all Lingma instances are busy. Try again later.",
            code="rate_limit_exceeded",
            retry_after=self._retry_after(),
            allowed=allowed,
            value=value,
        )

    def give_back(self, instance: AnyInstance, owner: Owner | None, taken_at: float) -> None:
        """A lease has ended."""
        if owner is not None:
            self.shares.give_back(owner)
        if isinstance(instance, RemoteInstance):
            instance.release()
            return
        instance.in_flight -= 1
        self.in_flight -= 1
        self._turn_sec += (self._loop.time() - taken_at - self._turn_sec) * 0.05
        careful = self._careful
        if self._waiters.count or careful.waiting or careful.holds or self.neighbours is not None:
            self._serve_waiters()

    def forget(self, waiter: Waiter) -> None:
        """The waiter has left."""
        if waiter.care:
            self._careful.remove(waiter)
        else:
            self._waiters.remove(waiter)
            self._note_waiting()

    def _take(self, affinity: Affinity | None, excluded: Collection[str], owner: Owner | None) -> Lease | None:
        if self.in_flight >= self.options.max_in_flight or self._closed:
            return None
        places: Sequence[policy.Place] = self.instances
        if self._careful.holds:
            places = self._careful.open([instance.candidate for instance in self.instances])
        return self._take_of(places, affinity, excluded, owner)

    def _take_of(
        self,
        places: Sequence[policy.Place],
        affinity: Affinity | None,
        excluded: Collection[str],
        owner: Owner | None,
    ) -> Lease | None:
        index = policy.choose(places, affinity, excluded, self._last)
        if index is None:
            return None
        self._last = index
        instance = self.instances[index]
        instance.in_flight += 1
        self.in_flight += 1
        if owner is not None:
            self.shares.take(owner)
        return Lease(self, instance, owner, self._loop.time())

    def _line_up(self, waiter: Waiter, *, first: bool = False) -> None:
        self._waiters.add(waiter, first=first)
        self._note_waiting()

    def _note_waiting(self) -> None:
        if self.neighbours is not None:
            self.neighbours.waiting_changed()

    def _serve_waiters(self) -> None:
        """Turns in doubt first, if it is not the others' turn."""
        self._careful.release(self.instances)
        if self._careful.gives_way:
            self._serve_lines()
            self._careful.others_had_their_turn()
        for waiter in self._careful.waiting.copy():
            self._serve_with_care(waiter)
        self._serve_lines()
        self._careful.rest()

    def _serve_lines(self) -> None:
        """In turn to keys, those of other processes included."""
        while True:
            if self.neighbours is not None:
                self.neighbours.serve()
            if not self._waiters.count:
                return
            first = self._waiters.first()
            lease = self._take(first.affinity, first.excluded, first.owner)
            if lease is None:
                return
            self._served(first, lease)

    def _served(self, first: Waiter, lease: Lease) -> None:
        self._waiters.served(first)
        first.lease.set_result(lease)
        self._note_waiting()

    # -- what other processes of this gateway lend and borrow -----------------------------------------------------

    @property
    def borrowing(self) -> int:
        """Turns that would take a place of another process. Those in doubt need more than a place."""
        return self._waiters.count

    def next_line(self) -> Line:
        """The line whose turn is the next to get a place."""
        return self.shares.line(self._waiters.first().owner) if self._waiters.count else Line(0, 0)

    def lend(self, line: Line | None, affinity: Affinity | None = None) -> Lease | None:
        """A place for a turn of another process, counted there; None when turns of this one come first.

        `line` is who waits for it; without one the session's own instance must have it, and nobody may wait here.
        """
        if not self.lends or (self._waiters.count and (line is None or not policy.goes_first(line, self.next_line()))):
            return None
        if affinity is not None and not any(each.affinity == affinity and each.has_room for each in self.instances):
            return None
        return self._take(affinity, (), None)

    def take_in(self, instance: RemoteInstance, waiter: Waiter | None = None) -> bool:
        """Give a borrowed place to the waiter it was asked for, else to the first in line; whether anybody wants it."""
        if waiter is None or waiter.lease.done():
            if not self._waiters.count:
                return False
            waiter = self._waiters.first()
            self._waiters.served(waiter)
            self._note_waiting()
        self.shares.take(waiter.owner)
        waiter.lease.set_result(Lease(self, instance, waiter.owner, self._loop.time()))
        return True

    def line_up(self, waiter: Waiter) -> None:
        """The session's own instance has no place: any will do."""
        if waiter.lease.done():
            return
        lease = None if self._waiters.count else self._take(waiter.affinity, waiter.excluded, waiter.owner)
        if lease is not None:
            waiter.lease.set_result(lease)
        else:
            self._line_up(waiter)

    def neighbours_changed(self) -> None:
        """Instances of other processes have come or gone."""
        self._instance_changed()

    def _serve_with_care(self, waiter: Waiter) -> None:
        if self.in_flight >= self.options.max_in_flight or self._closed:
            return None
        candidates = [instance.candidate for instance in self.instances]
        fitting = self._careful.fitting(waiter, self.instances, candidates)
        lease = self._take_of(fitting, None, waiter.excluded, waiter.owner)
        if lease is None:
            return self._careful.keep(waiter, self.instances, candidates)
        lease.in_doubt = True
        self._careful.began(waiter, lease.instance.name)
        return waiter.lease.set_result(lease)

    def _instance_changed(self) -> None:
        self.on_change()
        if self.ready:
            self._serve_waiters()
            return
        for waiter in [*self._waiters.everybody(), *self._careful.waiting]:
            if not self._is_hopeful(waiter.until):
                self.forget(waiter)
                waiter.lease.set_exception(self._unavailable())

    def _until(self, until: float | None) -> float:
        return self._loop.time() + self.options.queue_timeout if until is None else until

    def _is_hopeful(self, until: float) -> bool:
        """Whether a turn may get a place by then, as far as the instances know."""
        elsewhere = self.neighbours is not None and self.neighbours.ready and not self._closed
        return elsewhere or self._is_hopeful_here(until)

    def _is_hopeful_here(self, until: float) -> bool:
        if self._closed:
            return False
        seconds = until - self._loop.time()
        return any(instance.back_within(seconds) for instance in self.instances)

    def _unavailable(self) -> Unavailable:
        if self._closed:
            return Unavailable(self._closed)
        error = _unavailable(self.facts())
        error.retry_after = max(self._retry_after(), self._back_in())
        return error

    def _back_in(self) -> int:
        """Whole seconds after which an instance may be back, as far as any of them knows."""
        hopes = (seconds for seconds in range(1, 31) if any(each.back_within(seconds) for each in self.instances))
        return next(hopes, 1)

    def _retry_after(self) -> int:
        return policy.retry_after(
            self._waiters.count,
            self.options.max_in_flight,
            self._turn_sec,
            random.random(),  # noqa: S311
        )


def retry_hint(error: GatewayError, pool: Pool) -> GatewayError:
    """The service's own rate limit (finish 429) says no time; ours stands in."""
    if error.status == 429 and error.retry_after is None:
        error.retry_after = policy.retry_after(pool.waiting, pool.options.max_in_flight, 2.0, random.random())  # noqa: S311
    return error


def _names(specs: Sequence[InstanceSpec], process_number: int) -> list[str]:
    """`w1-i1` is the first instance of the first web process."""
    return [f"w{process_number}-i{index}" for index in range(1, len(specs) + 1)]


def _unavailable(facts: Sequence[InstanceStatus]) -> Unavailable:
    """Why no instance can take a turn, in words for a client."""
    states = ", ".join(f"{each.name} {each.state}" for each in facts) or "none configured"
    return Unavailable(f"No Lingma instance is ready ({states}).", code="server_is_overloaded")
