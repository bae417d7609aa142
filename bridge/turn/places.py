"""A place on an instance for a turn: at once, or in the queue, with signs of life to the client meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from bridge.chat.errors import GatewayError, LoggedOut, NoPlan, RateLimited
from bridge.chat.events import KeepAlive
from bridge.pool.lease import Lease, Waiter
from bridge.pool.policy import Owner
from bridge.pool.pool import Pool
from bridge.turn.context import TurnContext
from bridge.turn.elsewhere import Elsewhere

LOOK_SEC = 1.0  # between two looks for a place on another machine
REFUSALS = (LoggedOut, NoPlan, RateLimited)  # of an instance, whatever the turn is


class Places:
    """Finds each attempt of one turn a place, on another instance than those that have failed it."""

    def __init__(self, pool: Pool, owner: Owner, turn: TurnContext, keepalive_sec: float) -> None:
        self.failed: set[str] = set()
        """Names of instances that have failed this turn."""
        self.excluded: set[str] = set()
        """Those, and what is likely to do the same: asked only where there is no other."""
        self.served_ms = 0
        """The time that attempts took which were lost: all the rest was waiting."""
        self._pool = pool
        self._owner = owner
        self._turn = turn
        self._keepalive_sec = keepalive_sec
        self._rank = 0.0  # among turns in doubt
        self._sign_at = 0.0  # when a client that waits gets the next sign of life
        self._until = turn.watch.began + pool.options.queue_timeout
        """How long it may wait for a place, as the time of the loop."""

    @property
    def left(self) -> float:
        """Seconds for which the turn may still wait for a place."""
        return max(0.0, self._until - self._pool.ticker.loop.time())

    @left.setter
    def left(self, seconds: float) -> None:
        """It has waited elsewhere before."""
        self._until = min(self._until, self._pool.ticker.loop.time() + seconds)

    @property
    def waited_ms(self) -> int:
        """How long the turn has waited so far."""
        return self._turn.watch.ms() - self.served_ms

    def lease(self) -> Lease | None:
        """A place now, if there is one."""
        return self._pool.lease(self._turn.conversation.affinity, self.excluded, self._owner, self._until)

    def waits_for_login(self, instance: str) -> bool:
        """Its login, which is lost, makes itself again in time."""
        return self._pool.logs_in_again(instance, self._until)

    def has_other_plan(self, instance: str) -> bool:
        """An instance that has not failed this turn, of another login than those, can take it in time."""
        return self._pool.has_other_plan({*self.failed, instance}, self._until)

    async def queue(
        self, care: int, *, again: bool, elsewhere: Elsewhere | None, move: Callable[[], Awaitable[bool]]
    ) -> Lease | None:
        """A place in turn. `care`: see `bridge.pool.crashes`; `again`: the turn was asked before and lost.

        None: there is room `elsewhere`, and it has run there (`move`). Raise GatewayError when the queue is full, or
        after the queue time-out.
        """
        # Before the queue refuses it, as no instance of this process will be there in time.
        if care and self._may_move(care, elsewhere) and await move():
            return None
        waiter = self._join_queue(care, again=again)
        record = self._turn.record
        record.queued = record.waits = True
        loop = self._pool.ticker.loop
        self._sign_at = loop.time() + self._keepalive_sec
        record.admitted()
        try:
            while not await self._is_served(waiter, elsewhere):
                self._pool.plans.reopened()
                # Also one whose client has had signs of life: they are nothing of the reply.
                if self._may_move(care, elsewhere):
                    waiter.leave()
                    record.queue_ms = self.waited_ms  # which goes along
                    if await move():
                        return None
                    # What came free meanwhile is given to nobody who joins the queue behind it.
                    if not care and self._pool.ready and (lease := self.lease()) is not None:
                        record.waits = False
                        return lease
                    waiter = self._join_queue(care, again=True)
                if loop.time() >= self._sign_at:
                    self._sign_at = loop.time() + self._keepalive_sec
                    await self._turn.output.send([KeepAlive()])
            record.waits = False
            return waiter.lease.result()
        except BaseException:
            # Also when it is cancelled: a place could otherwise be given to a turn that is gone.
            waiter.leave()
            record.queue_ms = self.waited_ms
            raise

    async def pause(self, seconds: float) -> None:
        """Wait for something else than a place. Raise GatewayError after the queue time-out."""
        loop, record = self._pool.ticker.loop, self._turn.record
        record.queued = True
        record.admitted()
        record.queue_ms = self.waited_ms
        if loop.time() >= self._until:
            raise self._pool.timed_out()
        await asyncio.sleep(seconds)
        self._sign_at = self._sign_at or loop.time() + self._keepalive_sec
        if loop.time() >= self._sign_at:
            self._sign_at = loop.time() + self._keepalive_sec
            await self._turn.output.send([KeepAlive()])

    def costs_a_try(self, instance: str, error: GatewayError) -> bool:
        """Whether that attempt is one of the few a turn has. Not the first refusal by each instance: another may be
        free. There are only so many instances, and after the queue time-out each refusal counts. Nor is one that began
        a pause: the turn waits for another, and was asked here for want of it.
        """
        is_late = self._pool.ticker.loop.time() >= self._until
        is_again = instance in self.failed and not (isinstance(error, NoPlan) and self._pool.plans.pauses(instance))
        return is_late or is_again or not isinstance(error, REFUSALS)

    def attempt_lost(self, instance: str, error: GatewayError) -> None:
        """The attempt has come to nothing; the time it took was no waiting."""
        watch, queue_ms = self._turn.watch, self._turn.record.queue_ms
        # Another instance next: this one has just failed.
        self.failed.add(instance)
        self.excluded |= {instance, *self._pool.likely_to_refuse(instance, error)}
        # Minus the time at which it was asked: of turns lost to one exit the one asked last is the likeliest cause and
        # comes first.
        self._rank = -watch.began - (self.served_ms + queue_ms) / 1000
        served = watch.ms() - self.served_ms - queue_ms
        self.served_ms += served
        # The time limit is for waiting in the queue; an attempt that was lost must not use it up. Refusals may be many,
        # and the time-out bounds them too.
        if not isinstance(error, REFUSALS):
            self._until += served / 1000

    def served_elsewhere(self, ms: int) -> None:
        """Another process had the turn for so long, and nothing came of it: as of an attempt that was lost."""
        self.served_ms += ms
        self._until += ms / 1000

    def _join_queue(self, care: int, *, again: bool) -> Waiter:
        if not care:
            affinity = self._turn.conversation.affinity
            return self._pool.queue(affinity, self.excluded, self._owner, self._until, again=again)
        rank = self._rank if again else self._pool.ticker.loop.time()
        return self._pool.queue_with_care(care, rank, self.excluded, self._owner, self._until, again=again)

    def _may_move(self, care: int, elsewhere: Elsewhere | None) -> bool:
        """There is room for it elsewhere. One in doubt stays as long as an instance of this process may take it: there
        its second exit proves more.
        """
        if elsewhere is None or self._turn.output.committed:
            return False
        return elsewhere.has_room_for_doubt and not self._pool.is_here_soon if care else elsewhere.has_room

    async def _is_served(self, waiter: Waiter, elsewhere: Elsewhere | None) -> bool:
        """Wait a while; False when it is time to look around. Raise GatewayError after the queue time-out."""
        # asyncio.wait and not wait_for: the lease must not be cancelled when the pause is over.
        loop = self._pool.ticker.loop
        looks = self._sign_at if elsewhere is None else min(self._sign_at, loop.time() + LOOK_SEC)
        pause = min(self._until, looks) - loop.time()
        await asyncio.wait({waiter.lease}, timeout=max(0.0, pause))
        # Timers may be a millisecond early.
        if not waiter.lease.done() and loop.time() >= self._until - 0.01:
            raise self._pool.timed_out()
        return waiter.lease.done()
