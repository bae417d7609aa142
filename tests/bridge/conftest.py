"""Engines over pools of scripted services."""

import json
from contextlib import AsyncExitStack
from itertools import count

import pytest
import redis

from bridge.images.pipeline import ImageOptions, ImagePipeline
from bridge.lingma.stream import TurnLimits
from bridge.pool.options import InstanceOptions, InstanceSpec, PoolOptions
from bridge.turn.engine import Engine, EngineOptions
from gateway_project.lib.redis.redis_link import RedisLink
from sessions_store.store import SessionStore
from tests.accounts.conftest import OwnRedis
from tests.bridge.lingma.service import DIALECT, Service
from tests.bridge.pools import attached, running


@pytest.fixture
async def stack():
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def own_redis(tmp_path):
    server = OwnRedis(tmp_path)
    yield server
    server.kill()


@pytest.fixture
async def sessions(redis_server, stack):
    with redis.Redis.from_url(redis_server) as client:
        client.flushdb()
    link = RedisLink(redis_server, timeout=30)
    stack.push_async_callback(link.close)
    return SessionStore(link, ttl=60, max_entries=10)


@pytest.fixture
def new_service(stack):
    async def new_service(on_ask=None):
        return await stack.enter_async_context(Service(on_ask=on_ask))

    return new_service


@pytest.fixture
def new_engine(stack):
    """`new_engine(*services or sources, …)`: an engine whose instances are ready."""

    async def new_engine(*origins, sessions=None, most=8, waiting=256, limit=8, queue_timeout=5.0, keepalive=10.0,
                         silence=60.0, buffer=1 << 20, **options):  # fmt: skip
        sources = [each if isinstance(each, InstanceSpec) else attached(each)[0] for each in origins]
        turn = TurnLimits(keepalive, silence, buffer)
        instances = InstanceOptions(limit=limit, turn=turn)
        pool = await stack.enter_async_context(running(sources, PoolOptions(most, waiting, queue_timeout), instances))
        ids = count(1)
        engine = Engine(
            pool,
            sessions,
            ImagePipeline(ImageOptions()),
            EngineOptions(keepalive_sec=keepalive, **options),
            lambda: f"id{next(ids):010d}",
        )
        stack.push_async_callback(engine.wait_for_background)
        return engine

    return new_engine


@pytest.fixture
def with_log(tmp_path):
    """Attach to the service by a work dir, which has a log."""

    def with_log(service):
        (tmp_path / "logs").mkdir()
        (tmp_path / "logs" / "lingma.log").touch()
        (tmp_path / ".info.json").write_text(json.dumps({"websocketPort": service.port}))
        return InstanceSpec("attached", DIALECT, attach=str(tmp_path))

    return with_log
