"""What one web process does beside its turns, for as long as it runs: it hears of changes, and says how it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from accounts.ledger.ledger import Ledger
from bridge.alerts.stand_in import StandIn
from bridge.alerts.view import AlertOptions
from bridge.fleet import sizes
from bridge.fleet.crash_exchange import CrashExchange, RedisRetestLocks
from bridge.fleet.heartbeat import Heartbeat
from bridge.fleet.live_reports import LiveReports
from bridge.fleet.login_spread import LoginSpread
from bridge.fleet.login_store import DatabaseLogins, look_after
from bridge.fleet.maintenance import WindowLog
from bridge.fleet.modes import Modes
from bridge.fleet.place_exchange import PlaceExchange
from bridge.fleet.replacement_lease import RedisReplacementLease
from bridge.fleet.wanted import Wanted, wanted_watcher
from bridge.routing.routes import Routes
from bridge.routing.watcher import Rules, route_watcher
from bridge.runtime.new_id import new_id
from bridge.telemetry.running import RunningTurns
from bridge.turn.engine import Engine
from gateway_project.lib.background import end, keep_going
from gateway_project.lib.redis.redis_link import RedisLink

if TYPE_CHECKING:
    from gateway_project.env import Environment

ROUTES_SEC = 1.0  # how long a start waits for a slow database

Work = Callable[[], Coroutine[Any, Any, None]]
"""Runs until it is cancelled."""


class Followers:
    """`start()` them once, `stop()` them in the end. What they hear goes to the engine and its pool."""

    def __init__(
        self, env: Environment, link: RedisLink, bulk: RedisLink, ledger: Ledger, running: RunningTurns, engine: Engine
    ) -> None:
        self._env = env
        self._link = link
        self._engine = engine
        self._pool = pool = engine.pool
        self.heartbeat = Heartbeat(pool, link, ledger, self.take_models)
        # Over the link for large records: a report may be one.
        who = (env.process_name, env.web_process, new_id())
        self.live = LiveReports(bulk, pool, running, who, lambda: self.heartbeat.backlog)
        self._rules = route_watcher(link, env.models_refresh_sec, self._take_rules)
        self._wanted = wanted_watcher(link, self._take_wanted)
        self._tasks: list[asyncio.Task[None]] = []
        pool.upkeep.take_logins_from(DatabaseLogins())
        pool.upkeep.share_replacements(RedisReplacementLease(link, new_id()))

    def start(self, more: Iterable[Work]) -> None:
        """These, and `more` that others have."""
        loop, pool = asyncio.get_running_loop(), self._pool

        async def logins() -> None:
            await look_after(pool)

        places = PlaceExchange(self._link, pool.shares, new_id())
        crashes = CrashExchange(self._link, self._engine.crashes)
        self._engine.retest_locks = RedisRetestLocks(self._link, crashes)
        windows = WindowLog(pool.upkeep.windows)
        modes = Modes(self._link, self._env.web_process, self._env.process_names, self._is_well)
        work = (
            self.heartbeat.follow, self._rules.follow, self._wanted.follow, logins, places.follow, modes.follow,
            crashes.follow, windows.follow, self.live.follow, *more,
            # One judge, as for the modes that it goes by.
            *([self._stand_in().follow] if self._env.web_process == 1 else []),
            *([LoginSpread(pool, self._env.redis_or_embedded_url).follow] if self._env.logins_spread else []),
        )  # fmt: skip
        # References are kept, as the loop holds tasks only weakly.
        self._tasks = [loop.create_task(keep_going(each)) for each in work]

    async def stop(self) -> None:
        # A last heartbeat, so that others see at once that the instances are stopped.
        await self.heartbeat.publish()
        await end(self._tasks)

    async def routes_read(self) -> None:
        """Wait until the aliases are known, while the instances start; not for long when the database is away."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ROUTES_SEC):
                await self._rules.read.wait()

    def take_models(self) -> None:
        """The accounts may offer other models than before."""
        names = self._pool.model_names()
        # A new `Routes` starts with empty caches, so it is made only when something differs.
        if names != self._engine.routes.offered:
            self._engine.routes = self._engine.routes.with_models(names)

    def _take_rules(self, rules: Rules) -> None:
        """Take over what operators have changed."""
        names = self._pool.model_names()
        self._engine.routes = Routes(rules.aliases, rules.profiles, names, self._env.default_model)

    def _take_wanted(self, wanted: Wanted) -> None:
        upkeep = self._pool.upkeep
        # First: what is to be taken away need not begin to do what is wanted of it.
        upkeep.resize(sizes.size_of(self._env.web_process, wanted.sizes, self._env))
        upkeep.obey(wanted.orders, wanted.windows)

    def _is_well(self) -> bool:
        """Turns can be taken, or nobody expects it now."""
        return self._pool.ready or self._pool.upkeep.is_held

    def _stand_in(self) -> StandIn:
        return StandIn(self._env.redis_or_embedded_url, AlertOptions(**self._env.alert_options))
