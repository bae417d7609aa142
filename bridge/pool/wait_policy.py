"""Whether a turn without a place may wait for one, and the refusal when that is in vain."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from math import ceil

from bridge.chat.errors import GatewayError, NoPlan, Overloaded, RateLimited, Unavailable
from bridge.pool import policy
from bridge.pool.instances.breaker import Cause
from bridge.pool.members import Members
from bridge.pool.places import Places
from bridge.pool.policy import Owner
from bridge.pool.queue import TurnQueue
from bridge.status.instance import InstanceStatus
from bridge.status.states import InstanceState
from bridge.status.wanted import Maintenance, Mode


class WaitPolicy:
    """Times are those of the loop. `most` is how many turns may wait, `unknown` when a client is to come back where
    nobody knows when an instance will.
    """

    def __init__(self, members: Members, places: Places, queue: TurnQueue, most: int, unknown: float) -> None:
        self._members = members
        self._places = places
        self._queue = queue
        self._most = most
        self._unknown = unknown
        self._loop = asyncio.get_running_loop()

    def may_be_served(self, until: float) -> bool:
        """False where no instance, here or in other processes, can have a place by then (seconds of the loop)."""
        # An instance elsewhere counts even without a free place: one may become free, and is then lent.
        return (self._members.siblings.ready and not self._places.closed) or self.may_be_served_here(until)

    def may_be_served_here(self, until: float) -> bool:
        return not self._places.closed and self._members.back_within(until - self._loop.time())

    def require_room(self, owner: Owner) -> None:
        """Raise Overloaded when the queue is full, or this key's share of it: the one of all processes, if known."""
        elsewhere = self._places.shares.waiting_elsewhere
        of_key = self._queue.of(owner.key) + elsewhere.get(owner.key, 0)
        waiting = self._queue.waiting + sum(elsewhere.values())
        most = self._most + self._members.siblings.free  # who takes one of those hardly waits
        # Two refusals with two texts: a full queue is everybody's, a share is the key's own doing.
        if waiting >= most:
            raise self._overloaded("The queue is full", most, waiting)
        if not policy.may_wait(of_key, waiting, most):
            raise self._overloaded("This API key's share of the queue is full", most - waiting, of_key)

    def timed_out(self) -> GatewayError:
        """The refusal of a turn that has waited as long as it may."""
        return self._overloaded("No place became free in time") if self._members.ready else self.unavailable()

    def unavailable(self) -> GatewayError:
        """The refusal of a turn that no instance can take."""
        if self._places.closed:
            return Unavailable(self._places.closed)
        statuses = self._members.statuses()
        if (refused := _refused(statuses)) is not None:
            return refused
        error = _unavailable(statuses)
        if error.retry_after is None:
            error.retry_after = self.retry_after()
        return error

    def _overloaded(self, what: str, allowed: int | None = None, value: int | None = None) -> Overloaded:
        return Overloaded(
            f"{what}: all Lingma instances are busy. Try again later.",
            code="rate_limit_exceeded",
            retry_after=self._of_queue(),
            allowed=allowed,
            value=value,
        )

    def retry_after(self) -> int:
        """Whole seconds after which a turn may be sent again: before the instances are back it is refused again."""
        if self._members.ready:
            return self._of_queue()
        back = self._members.back_in()
        if math.isinf(back):
            # Of several clients not all at once.
            back = self._unknown * (1 - random.random() / 3)  # noqa: S311
        return max(self._of_queue(), ceil(back))

    def _of_queue(self) -> int:
        return self._places.retry_after(self._queue.lines.count)


def _refused(statuses: Sequence[InstanceStatus]) -> GatewayError | None:
    """What the service itself said last, where nothing else is in the way."""
    if not statuses or any(each.state is not InstanceState.COOLING or not each.cools_for for each in statuses):
        return None
    with_plan = [each.cool_until for each in statuses if each.cools_for != Cause.NO_PLAN]
    if not with_plan:
        return NoPlan()
    seconds = ceil(min(with_plan) - time.time())
    return RateLimited("The Lingma service is rate limited; try again later.", retry_after=max(1, seconds))


def _unavailable(statuses: Sequence[InstanceStatus]) -> Unavailable:
    if statuses and all(each.mode is not Mode.RUN or each.maintenance is not None for each in statuses):
        return _paused(each.maintenance for each in statuses if each.mode is Mode.RUN)
    states = ", ".join(f"{each.name} {each.state}" for each in statuses) or "none configured"
    return Unavailable(f"No Lingma instance is ready ({states}).", code="server_is_overloaded")


def _paused(windows: Iterable[Maintenance | None]) -> Unavailable:
    """By these windows; by order where there are none."""
    ends = [each.until for each in windows if each is not None]
    if not ends:
        return Unavailable("The operators of this gateway have paused it.", code="server_is_overloaded")
    end = datetime.fromtimestamp(ceil(min(ends)), UTC)
    words = f"This gateway is in maintenance until {end:%Y-%m-%d %H:%M:%S} UTC; send the request again after that."
    return Unavailable(words, code="server_is_overloaded", retry_after=max(1, ceil(min(ends) - time.time())))
