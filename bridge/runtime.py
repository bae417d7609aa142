"""Settings to this process's one engine: starts on first use, ends with the process."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from django.conf import settings

from accounts.content.outbox import Outbox
from accounts.keys.in_use import KeysInUse
from accounts.keys.keyring import KeyRing
from accounts.ledger.ledger import Ledger
from accounts.ledger.row import Amendment
from accounts.limits.admission import Admission, Limits
from accounts.limits.key_report import KeyReports
from bridge.alerts.stand_in import StandIn
from bridge.alerts.view import AlertOptions
from bridge.bounds.load import BodyLoad
from bridge.bounds.patience import Pace
from bridge.chat.request import ToolMode
from bridge.fleet import sizes
from bridge.fleet.crash_exchange import CrashExchange, RedisTrials
from bridge.fleet.heartbeat import Heartbeat
from bridge.fleet.live_reports import LiveReports
from bridge.fleet.login_store import DatabaseLogins, look_after
from bridge.fleet.maintenance import WindowLog
from bridge.fleet.modes import Modes
from bridge.fleet.place_exchange import PlaceExchange
from bridge.fleet.replacement_lease import RedisReplacementLease
from bridge.fleet.wanted import Wanted, wanted_watcher
from bridge.images.pipeline import ImageOptions, ImagePipeline
from bridge.lingma.dialects.a.dialect import DialectA
from bridge.lingma.dialects.base import Dialect
from bridge.lingma.stream import TurnLimits
from bridge.peers.guests import Guests
from bridge.peers.listeners import Listener, Listeners, Tls
from bridge.peers.report import PeerReport
from bridge.peers.secret import peer_secret
from bridge.pool.options import InstanceOptions, InstanceSpec, PoolOptions
from bridge.pool.pool import Pool
from bridge.programs import of_version, program
from bridge.routing.routes import Routes
from bridge.routing.watcher import Rules, route_watcher
from bridge.siblings.siblings import Siblings
from bridge.status.versions import WantedVersion
from bridge.telemetry import metrics, spans
from bridge.telemetry.refusals import Refusals
from bridge.telemetry.running import RunningTurns
from bridge.turn.engine import Engine, EngineOptions
from bridge.turn.plan import PlanOptions
from bridge.turn.record import TurnRecord
from gateway_project.lib import upstream
from gateway_project.lib.background import end, keep_going
from gateway_project.lib.random_bytes import random_bytes
from gateway_project.lib.redis_link import RedisLink
from gateway_project.lib.tool_approval import Approval
from sessions_store.responses import ResponseStore
from sessions_store.store import SessionStore

if TYPE_CHECKING:
    from bridge.peers.peers import Peers
    from gateway_project.env import Environment

logger = logging.getLogger(__name__)

BULK_SEC = 4.0  # how long Redis may be silent about a large record
ROUTES_SEC = 1.0  # how long a start waits for a slow database
ORDERS_SEC = 1.0  # how long instances wait for it before they start with the login they have
END_SEC = 2.0  # how long turns that were ended may take to say so and to be booked


class Runtime:
    """All that one web process serves requests with: built here, started by `start`, ended by `stop`."""

    def __init__(self, env: Environment, data_dir: Path, pepper: bytes, dialect: Dialect | None = None) -> None:
        self.env = env
        self.upstream: bytes = env.upstream.encode()
        self.trace_share = env.trace_share
        """Of turns that went well, so many leave a trace: 0 none, 1 all."""
        self.spans = spans.Spans(env.process_name, env.node) if spans.are_wanted() else None
        self.cors_origins = frozenset(env.cors_allowed_origins)
        self.link = RedisLink(env.redis_or_embedded_url)
        self.keys = KeyRing(pepper, self.link)
        self.in_use = KeysInUse(self.keys)
        self.running = RunningTurns()
        self.unauthenticated = Pace()
        self.key_reports = KeyReports()
        self.limits = Limits(self.link, self._processes)
        self.bodies = BodyLoad(env.request_buffer_bytes)
        self.ledger = Ledger(self.link, data_dir / "spool", f"w{env.web_process}-{_new_id()}")
        self.refusals = Refusals(self.ledger)
        self.pool = _pool(env, data_dir, dialect or DialectA(env.lingma_ask_overrides))
        self.ticker = self.pool.ticker
        """Calls whatever lives as long as a turn."""
        # A link of its own: a record of megabytes must not hold up the short commands of every turn.
        self.bulk = RedisLink(env.redis_or_embedded_url, timeout=BULK_SEC, part="")
        self.contents = Outbox(self.bulk, metrics.content_dropped)
        self.responses = ResponseStore(self.link, self.bulk, ttl=env.responses_ttl_sec)
        self.engine = Engine(
            self.pool, self._sessions(), ImagePipeline(_image_options(env)), _engine_options(env), _new_id
        )
        self.route_watcher = route_watcher(self.link, env.models_refresh_sec, self._take_rules)
        self.wanted_watcher = wanted_watcher(self.link, self._take_wanted)
        self.pool.upkeep.take_logins_from(DatabaseLogins())
        self.pool.upkeep.share_replacements(RedisReplacementLease(self.link, _new_id()))
        self.siblings = _siblings(env, data_dir, self.pool)
        self.guests = Guests()
        """Turns of other processes."""
        self.peer_secret = b""
        self.listeners: Listeners | None = None
        self.peers: Peers | None = None
        self._meet_peers(env, data_dir, pepper)
        self.heartbeat = Heartbeat(self.pool, self.link, self.ledger, self._take_models)
        self.live = self._live_reports()
        self._background: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the instances and what runs beside the turns."""
        # Before the pool starts: the first change of state is announced already.
        self.pool.on_change = self._on_change
        if self.siblings is not None:
            self.pool.siblings = self.siblings
        self.pool.start()

        async def logins() -> None:
            await look_after(self.pool)

        loop = asyncio.get_running_loop()
        places = PlaceExchange(self.link, self.pool.shares, _new_id())
        crashes = CrashExchange(self.link, self.engine.crashes)
        self.engine.trials = RedisTrials(self.link, crashes)
        windows = WindowLog(self.pool.upkeep.windows)
        modes = Modes(self.link, self.env.web_process, self.env.process_names, self._is_well)
        work = (
            self.keys.listen, self.keys.preload, self.in_use.follow, self.refusals.follow, self.heartbeat.follow,
            self.route_watcher.follow, self.wanted_watcher.follow, logins, places.follow, modes.follow, crashes.follow,
            windows.follow, self.live.follow,
            *([self.siblings.follow] if self.siblings is not None else []),
            *([self.peers.follow, self._serve_peers] if self.peers is not None else []),
            # One judge, as for the modes that it goes by.
            *([_stand_in(self.env).follow] if self.env.web_process == 1 else []),
        )  # fmt: skip
        # References are kept, as the loop holds tasks only weakly.
        self._background = [loop.create_task(keep_going(each)) for each in work]

    def later(self, work: Coroutine[Any, Any, object]) -> None:
        """Have something done that no turn needs to wait for; a stop waits for it."""
        self.engine.in_background(work)

    def await_usage(self, record: TurnRecord, request_id: str, started_at: float, admission: Admission) -> None:
        """Should the service still log what the turn has cost: amend its row, and its limits by the difference."""
        assert record.awaited is not None  # noqa: S101 - the caller has looked
        estimated = record.prompt_tokens + record.completion_tokens

        def amend(prompt: int, completion: int) -> None:
            self.later(self.ledger.amend(Amendment(request_id, started_at, prompt, completion)))
            self.later(admission.amend(prompt + completion - estimated))

        self.pool.late_usages.expect(record.awaited, amend)

    async def routes_read(self) -> None:
        """Wait until the aliases are known, while the instances start; not for long when the database is away."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ROUTES_SEC):
                await self.route_watcher.read.wait()

    async def stop(self) -> None:
        """End the instances; what was left for later is done first, and what other processes have borrowed ends."""
        # The order matters: lend nothing new, wait for what is lent, end the instances, write what is left, then
        # close Redis.
        self.drain()
        if self.siblings is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.env.drain_sec):
                    await self.siblings.returned()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.env.drain_sec):
                await self.guests.gone()
        # Before `settle`: turns that end now still leave rows to be written.
        await self.pool.stop()
        await self.engine.wait_for_background()
        await self.limits.settled()
        await self.refusals.file()
        if self.spans is not None:
            await self.spans.close()
        # A last heartbeat, so that others see at once that the instances are stopped.
        await self.heartbeat.publish()
        await end(self._background)
        upstream.set_running("")
        await self.link.close()
        await self.bulk.close()

    def drain(self) -> None:
        """Lend no more places and take no turns of others; what is lent, and what was taken, goes on."""
        if self.pool.lends:
            self.pool.lends = False
            self._tell_others()

    def _tell_others(self) -> None:
        if self.siblings is not None:
            self.siblings.instances_changed()
        if self.peers is not None:
            self.peers.instances_changed()

    def _meet_peers(self, env: Environment, data_dir: Path, pepper: bytes) -> None:
        if not env.has_peers:
            return
        from bridge.peers.client import PeerClient  # 12 MiB, for nothing where a process is alone
        from bridge.peers.peers import Peers

        secret = peer_secret(env.peer_secret.get_secret_value(), pepper)
        self.peer_secret = secret.encode()
        host, port = env.peer_address
        tls = Tls(env.peer_tls_cert, env.peer_tls_key, env.peer_tls_ca)
        self.listeners = Listeners(data_dir.resolve(), env.web_process, host, port, tls)
        client = PeerClient(env.node, secret, tls.client())
        self.peers = peers = Peers(self.link, client, partial(self._peer_report, _new_id()))
        self.pool.has_room_elsewhere = lambda: peers.has_room
        self.pool.plans.are_elsewhere = lambda: peers.take_turns

    def _processes(self) -> int:
        """Web processes of all machines, as far as they hand turns over, and as they were known last."""
        return max(self.env.web_processes, 1 + len(self.peers.known) if self.peers is not None else 0)

    def _peer_report(self, run: str) -> PeerReport:
        env, listeners = self.env, self.listeners
        ready = {each.name: each.generation for each in self.pool.instances if each.is_ready and self.pool.lends}
        path, url = (listeners.path, listeners.url) if listeners is not None else ("", "")
        free = self.pool.free if self.pool.lends and not self.pool.waiting else 0
        return PeerReport(env.process_name, run, env.node, time.time(), path, url, ready, free)

    async def _serve_peers(self) -> None:
        if serve_peers is not None and self.listeners is not None:
            await serve_peers(self.listeners.open())

    def _live_reports(self) -> LiveReports:
        who = (self.env.process_name, self.env.web_process, _new_id())
        # Over the link for large records: a report may be one.
        return LiveReports(self.bulk, self.pool, self.running, who, lambda: self.heartbeat.backlog)

    def _sessions(self) -> SessionStore | None:
        if not self.env.session_reuse_enabled:
            return None
        ttl, most = self.env.session_cache_ttl_sec, self.env.session_cache_max_entries
        return SessionStore(self.link, ttl=ttl, max_entries=most)

    def _take_rules(self, rules: Rules) -> None:
        """Take over what operators have changed."""
        names = self.pool.model_names()
        self.engine.routes = Routes(rules.aliases, rules.profiles, names, self.env.default_model)

    def _take_wanted(self, wanted: Wanted) -> None:
        # First: what is to be taken away need not begin to do what is wanted of it.
        self.pool.upkeep.resize(sizes.size_of(self.env.web_process, wanted.sizes, self.env))
        self.pool.upkeep.obey(wanted.orders, wanted.windows)

    def _is_well(self) -> bool:
        """Turns can be taken, or nobody expects it now."""
        return self.pool.ready or self.pool.upkeep.is_held

    def _take_models(self) -> None:
        """The accounts may offer other models than before."""
        names = self.pool.model_names()
        # A new `Routes` starts with empty caches, so it is made only when something differs.
        if names != self.engine.routes.offered:
            self.engine.routes = self.engine.routes.with_models(names)

    def _on_change(self) -> None:
        self._take_models()
        kinds = {each.upstream for each in self.pool.instances}
        # Whoever might get a made up answer is told so.
        kind = "simulator" if "simulator" in kinds else "/".join(sorted(kinds))
        self.upstream = kind.encode()
        upstream.set_running(kind)
        self.heartbeat.instance_changed()
        self._tell_others()


_runtime: Runtime | None = None

serve_peers: Callable[[list[Listener]], Coroutine[Any, Any, None]] | None = None
"""Serves other processes on these sockets. The application sets it, as no room knows the server."""


async def get_runtime() -> Runtime:
    """The runtime of this process, started on first use: Daphne, for one, does not announce its start."""
    global _runtime  # noqa: PLW0603  one per process is the point
    if _runtime is None:
        # Set before the first await: two first requests at once must not start two.
        _runtime = Runtime(settings.ENV, settings.DATA_DIR, settings.KEY_PEPPER)
        _runtime.start()
        await _runtime.routes_read()
    return _runtime


def begin_to_stop() -> None:
    """No more requests come, and other processes borrow nothing any more."""
    if _runtime is not None:
        _runtime.drain()


def lends() -> bool:
    """Other processes still use places of this one."""
    if _runtime is None:
        return False
    return bool(_runtime.guests.count) or (_runtime.siblings is not None and _runtime.siblings.lends)


def end_turns() -> None:
    """Time is up: every turn that still runs ends with an error its client can read."""
    if _runtime is not None:
        _runtime.pool.end_turns("The gateway is shutting down; send the request again.")


async def stop_runtime() -> None:
    """Stop the runtime of this process; nothing to do if it was never started."""
    global _runtime
    runtime, _runtime = _runtime, None
    if runtime is not None:
        await runtime.stop()


_random = random_bytes(16)


def _new_id() -> str:
    """32 hexadecimal digits, as unique as a UUID."""
    return _random().hex()


def _pool(env: Environment, data_dir: Path, dialect: Dialect) -> Pool:
    pool = Pool(_instance_specs(env, data_dir, dialect), env.web_process, _pool_options(env), _instance_options(env))
    pool.upkeep.versions.spec_of = partial(_of_version, env, data_dir)
    if not env.lingma_attach_urls:
        pool.upkeep.spec_of = _started(env, data_dir, dialect)
    return pool


def _instance_specs(env: Environment, data_dir: Path, dialect: Dialect) -> list[InstanceSpec]:
    """One per instance: attached services, else started ones, each with a work dir of its own (PROTOCOL 2.5)."""
    if env.lingma_attach_urls:
        urls = env.lingma_attach_urls
        # Several processes, or the same URL twice: then the service has other clients than this instance.
        shared = env.web_processes > 1 or len(set(urls)) < len(urls)
        return [InstanceSpec("attached", dialect, attach=url, shared=shared) for url in urls]
    spec_of = _started(env, data_dir, dialect)
    return [spec_of(number) for number in range(1, env.lingma_instances + 1)]


def _started(env: Environment, data_dir: Path, dialect: Dialect) -> Callable[[int], InstanceSpec]:
    """Where the instance of that number comes from."""
    found = program(env, data_dir)
    # The simulator has no page where an operator could log in first.
    arguments = ("--login=auto",) if found.upstream == "simulator" else found.arguments

    def spec_of(number: int) -> InstanceSpec:
        work_dir = data_dir / "instances" / f"w{env.web_process}-i{number}"
        return InstanceSpec(
            found.upstream, dialect, found.command, arguments, work_dir,
            environment=found.environment, version=found.version, sha256=found.sha256,
        )  # fmt: skip

    return spec_of


def _of_version(env: Environment, data_dir: Path, before: InstanceSpec, wanted: WantedVersion) -> InstanceSpec:
    found = of_version(env, data_dir, wanted)
    return msgspec.structs.replace(
        before, upstream=found.upstream, command=found.command, arguments=found.arguments,
        environment=found.environment, version=found.version, sha256=found.sha256,
    )  # fmt: skip


def _stand_in(env: Environment) -> StandIn:
    return StandIn(env.redis_or_embedded_url, AlertOptions(**env.alert_options))


def _siblings(env: Environment, data_dir: Path, pool: Pool) -> Siblings | None:
    if env.web_processes < 2:
        return None
    return Siblings(pool, env.web_process, env.web_processes, data_dir)


def _pool_options(env: Environment) -> PoolOptions:
    return PoolOptions(
        env.in_flight_limit, env.max_queue, env.queue_timeout_sec, env.retry_unknown_sec, env.places_each
    )


def _instance_options(env: Environment) -> InstanceOptions:
    instances = len(env.lingma_attach_urls) or env.lingma_instances
    return InstanceOptions(
        node=env.named_node,
        # Rounded up: the sum may be a little more than the limit, never less.
        limit=-(-env.in_flight_limit // instances),
        start_timeout=env.lingma_start_timeout_sec,
        rpc_timeout=env.rpc_timeout_sec,
        ask_kind=env.lingma_ask_kind,
        dedicated_domain=env.dedicated_domain_url if env.lingma_attach_urls else "",
        models_refresh=env.models_refresh_sec,
        drain=env.drain_sec,
        smoke_model=env.default_model if env.lingma_replacement_smoke else "",
        longest_pause=env.lingma_cool_max_sec,
        stuck=env.stuck_turn_sec,
        orders_within=ORDERS_SEC,
        turn=TurnLimits(env.keepalive_sec, env.turn_silence_sec, env.stream_buffer_bytes),
        approval=Approval.read(env.tool_approval),
    )


def _engine_options(env: Environment) -> EngineOptions:
    tool_mode: ToolMode = "forward" if env.tool_forward_enabled else env.tool_mode
    plan = PlanOptions(env.default_ask_mode, tool_mode, env.tool_executed, env.session_reuse_with_tools)
    return EngineOptions(env.default_model, env.keepalive_sec, plan)


def _image_options(env: Environment) -> ImageOptions:
    return ImageOptions(env.image_fetch_enabled, env.image_max_bytes, env.image_max_side, env.image_max_count)
