"""The places of this process: how many turns run, on which instances, and for whom."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Sequence

from bridge.pool import policy
from bridge.pool.instances.instance import Instance
from bridge.pool.lease import Lease
from bridge.pool.policy import Affinity, Owner
from bridge.pool.remote import RemoteInstance
from bridge.pool.shares import Shares


class Places:
    """At most `most` at once, and on each instance at most its limit."""

    def __init__(self, instances: Sequence[Instance], most: int) -> None:
        self.in_flight = 0
        self.most = most
        self.shares = Shares()
        self.closed = ""
        """Why none is given any more."""
        self.on_release: Callable[[], None] = lambda: None
        self._instances = instances
        self._last = -1  # that was chosen
        self._turn_sec = 5.0  # a moving average, for Retry-After
        self._loop = asyncio.get_running_loop()

    @property
    def is_full(self) -> bool:
        """No turn can have one, on whatever instance."""
        return self.in_flight >= self.most or bool(self.closed)

    @property
    def free(self) -> int:
        """Places that a turn could take now."""
        rooms = [
            max(0, each.limit - each.in_flight) for each in (one.candidate for one in self._instances) if each.ready
        ]
        return max(0, min(self.most - self.in_flight, sum(rooms)))

    def take(
        self,
        candidates: Sequence[policy.InstanceLoad],
        affinity: Affinity | None,
        excluded: Collection[str],
        owner: Owner | None,
    ) -> Lease | None:
        """A place on the one that the policy chooses: `candidates` are the instances, as they are open to this turn.

        A turn of another process has no owner here; its place is counted there.
        """
        if self.in_flight >= self.most or self.closed:
            return None
        index = policy.choose(candidates, affinity, excluded, self._last)
        if index is None:
            return None
        # Also for a choice by affinity: round robin goes on behind whoever got the last turn.
        self._last = index
        instance = self._instances[index]
        instance.in_flight += 1
        self.in_flight += 1
        # Counted when the place is given and not when the turn begins: between the two others choose.
        if owner is not None:
            self.shares.take(owner)
        lease = Lease(instance, owner, self._loop.time(), self._give_back)
        if instance.health.wants_probe:
            lease.is_probe = True
            instance.health.placed()
        return lease

    def take_borrowed(self, instance: RemoteInstance, owner: Owner) -> Lease:
        self.shares.take(owner)
        return Lease(instance, owner, self._loop.time(), self._give_back)

    def retry_after(self, waiting: int) -> int:
        """Whole seconds after which a refused turn may hope for one."""
        return policy.retry_after(waiting, self.most, self._turn_sec, random.random())  # noqa: S311

    def _give_back(self, lease: Lease) -> None:
        if lease.owner is not None:
            self.shares.give_back(lease.owner)
        instance = lease.instance
        if isinstance(instance, RemoteInstance):
            # It was counted in its own process, which serves whoever waits there.
            instance.release()
            return
        instance.in_flight -= 1
        self.in_flight -= 1
        if lease.is_probe:
            instance.health.left()
        # About the last twenty turns: one very long reply must not scare clients away for half a minute.
        self._turn_sec += (self._loop.time() - lease.taken_at - self._turn_sec) * 0.05
        self.on_release()
