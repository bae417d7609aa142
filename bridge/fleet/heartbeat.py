"""What one web process reports of its instances, through Redis: every two seconds, and when one changes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import msgspec
from prometheus_client import Counter
from redis import ResponseError

from accounts.ledger.ledger import Ledger
from bridge.fleet import modes, timelines
from bridge.pool.instances.instance import Instance
from bridge.pool.pool import Pool
from bridge.status.instance import InstanceStatus
from bridge.telemetry import metrics
from bridge.telemetry.rates import RATES
from gateway_project.lib import degraded
from gateway_project.lib.background import until_next
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_link import RedisLink, RedisUnavailable

logger = logging.getLogger(__name__)

EVERY_SEC = 2.0
LIFETIME_SEC = 15
TWICE_SEC = 30.0


class Heartbeat:
    """The status of each instance of `pool` in Redis, and the gauges of this process. `before` is called first."""

    def __init__(self, pool: Pool, link: RedisLink, ledger: Ledger, before: Callable[[], None]) -> None:
        self.backlog = 0
        """Of the ledger, at the last heartbeat."""
        self._pool = pool
        self._link = link
        self._ledger = ledger
        self._before = before
        self._changed = asyncio.Event()
        self._said: dict[str, bytes] = {}
        """By instance: its last heartbeat."""
        self._strange: set[str] = set()
        self._named_twice: dict[str, float] = {}
        """Since when, by the monotonic clock, that was last seen."""
        self._names: set[str] = set()
        self._counted: dict[tuple[Counter, str], int] = {}

    def instance_changed(self) -> None:
        """Publish soon: an instance is in another state, or offers other models."""
        for instance in self._pool.instances:
            metrics.instance_changed(instance.name, instance.state)
        self._changed.set()

    async def follow(self) -> None:
        while True:
            self._changed.clear()  # before: what changes while Redis is waited for is published next
            await self.publish()
            with suppress(TimeoutError):
                async with asyncio.timeout(until_next(EVERY_SEC)):
                    await self._changed.wait()

    async def publish(self) -> None:
        """Once. Redis may be away."""
        self._before()
        # Gauges first: they must be right while Redis is away, too.
        metrics.count_turns()
        RATES.sample(time.monotonic())
        metrics.IN_FLIGHT.set(self._pool.in_flight)
        metrics.QUEUE_LENGTH.set(self._pool.waiting)
        metrics.modes_changed({each.name for each in modes.active()}, degraded.STILL_WORKS)
        work: list[Coroutine[Any, Any, None]] = []
        for instance, status in zip(self._pool.instances.copy(), self._pool.statuses(), strict=True):
            self._count_incidents(instance)
            # Ready and busy are only looked at: a change between them is told by nobody.
            metrics.instance_changed(status.name, status.state)
            metrics.instance_measured(status.name, status.memory, status.disk, status.stuck)
            work.append(self._publish(instance, status))
        work += [self._forget_others(), self._count_alerts(), self._ledger.sign_of_life(), self._count_backlog()]
        # Together: however many instances there are, Redis is asked once or twice, and not for each.
        await asyncio.gather(*work)
        metrics.LEDGER_BACKLOG.set(self.backlog)
        metrics.REDIS_AVAILABLE.set(self._link.available)

    async def _publish(self, instance: Instance, status: InstanceStatus) -> None:
        await timelines.write(self._link, instance.name, instance.timeline)
        name, now = status.name, time.monotonic()
        is_named_twice = now - self._named_twice.get(name, -TWICE_SEC) < TWICE_SEC
        said = msgspec.json.encode(msgspec.structs.replace(status, is_named_twice=is_named_twice))
        # For each one: the key lapses by itself (LIFETIME_SEC), and then the instance shows as gone.
        try:
            before = await self._link.execute("SET", redis_keys.INSTANCE + name, said, "EX", LIFETIME_SEC, "GET")
        except (RedisUnavailable, ResponseError):
            return
        # Between two of ours stands another one: sessions of theirs would be taken for ours.
        is_strange = before is not None and name in self._said and before != self._said[name]
        # Once proves nothing: the reply to one of ours may have been lost.
        if is_strange and name in self._strange:
            if not is_named_twice:
                logger.error("another gateway on this Redis has an instance %s too: give each a NODE_NAME", name)
            self._named_twice[name] = now
        (self._strange.add if is_strange else self._strange.discard)(name)
        self._said[name] = said

    async def _forget_others(self) -> None:
        """Those that were taken away are gone at once, and nobody misses them."""
        names = {each.name for each in self._pool.instances}
        for name in self._names - names:
            metrics.instance_gone(name)
            with suppress(RedisUnavailable, ResponseError):
                await self._link.execute("DEL", redis_keys.INSTANCE + name)
        self._names = names

    async def _count_alerts(self) -> None:
        with suppress(RedisUnavailable, ResponseError, msgspec.MsgspecError):
            if counted := await self._link.execute("GET", redis_keys.ALERTS):
                metrics.alerts_counted(msgspec.json.decode(counted, type=dict[str, int]))

    async def _count_backlog(self) -> None:
        self.backlog = await self._ledger.backlog()

    def _count_incidents(self, instance: Instance) -> None:
        """What an instance has counted since the last heartbeat."""
        incidents = (
            (metrics.INSTANCE_RESTARTS, instance.incidents.restarts),
            (metrics.INSTANCE_RECONNECTS, instance.incidents.reconnects),
            (metrics.INSTANCE_PAUSES, instance.health.breaker.pauses),
            (metrics.ACKS_LATE, instance.late_acks),
            (metrics.UNKNOWN_PUSHES, instance.incidents.unknown_pushes),
            (metrics.UNROUTED_TOOL_EVENTS, instance.incidents.unrouted_tool_events),
        )
        for counter, now in incidents:
            before = self._counted.get((counter, instance.name))
            if before is None or now > before:  # the first time counts nothing, but makes it show as 0
                counter.labels(instance.name).inc(now - (before or 0))
            self._counted[counter, instance.name] = now
