"""A place on an instance, and a turn that waits for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from bridge.pool.instances.instance import Instance
from bridge.pool.policy import Affinity, Owner
from bridge.pool.remote import RemoteInstance

AnyInstance = Instance | RemoteInstance


class Lease:
    """One place on one instance, until `release()`; releasing twice does nothing."""

    __slots__ = ("_give_back", "in_doubt", "instance", "is_probe", "owner", "taken_at")

    def __init__(
        self, instance: AnyInstance, owner: Owner | None, taken_at: float, give_back: Callable[[Lease], None]
    ) -> None:
        self.instance = instance
        self.owner = owner
        self.taken_at = taken_at
        self.in_doubt = False
        self.is_probe = False
        """Its turn shows whether the instance can be asked again."""
        self._give_back: Callable[[Lease], None] | None = give_back

    def release(self) -> None:
        # Several ends of a turn may release it: its reader, its failure, its cancellation. Only the first counts.
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            give_back(self)


class Waiter:
    """A turn in the queue. `lease` is a Future of its Lease; `leave()` when nobody wants it any more."""

    care = 0
    """More than that: it waits among the turns in doubt."""
    rank = 0.0
    """Its place among them."""

    def __init__(
        self,
        owner: Owner,
        affinity: Affinity | None,
        excluded: Collection[str],
        until: float,
        forget: Callable[[Waiter], None],
    ) -> None:
        self.lease: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        self.owner = owner
        self.affinity = affinity
        self.excluded = excluded
        self.until = until
        self._forget = forget

    def leave(self) -> None:
        """Leave the queue; a lease that came in the same moment goes back. A second time does nothing."""
        if self.lease.cancelled():
            return
        self._forget(self)
        # The place may have been given between the decision to leave and this call. Without the release it would be
        # lost for good.
        if not self.lease.cancel() and self.lease.exception() is None:
            self.lease.result().release()
