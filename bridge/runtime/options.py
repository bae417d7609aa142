"""Settings to what a pool, its instances and the engine are made of."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bridge.chat.request import ToolMode
from bridge.images.pipeline import ImageOptions
from bridge.lingma.dialects.base import Dialect
from bridge.lingma.stream import TurnLimits
from bridge.pool.options import InstanceOptions, InstanceSpec, PoolOptions
from bridge.pool.pool import Pool
from bridge.programs import of_version, program
from bridge.status.versions import WantedVersion
from bridge.turn.engine import EngineOptions
from bridge.turn.plan import PlanOptions
from gateway_project.lib.tool_approval import Approval

if TYPE_CHECKING:
    from gateway_project.env import Environment

ORDERS_SEC = 1.0  # how long instances wait for the database before they start with the login they have


def made_pool(env: Environment, data_dir: Path, dialect: Dialect) -> Pool:
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


def engine_options(env: Environment) -> EngineOptions:
    tool_mode: ToolMode = "forward" if env.tool_forward_enabled else env.tool_mode
    plan = PlanOptions(env.default_ask_mode, tool_mode, env.tool_executed, env.session_reuse_with_tools)
    return EngineOptions(env.default_model, env.keepalive_sec, plan)


def image_options(env: Environment) -> ImageOptions:
    return ImageOptions(env.image_fetch_enabled, env.image_max_bytes, env.image_max_side, env.image_max_count)
