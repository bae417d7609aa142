"""A store on a real Redis, emptied before each test."""

import asyncio

import pytest
import redis

from gateway_project.lib.redis.redis_link import RedisLink
from sessions_store.store import SessionStore
from tests.bridge.conftest import own_redis as own_redis
from tests.bridge.conftest import stack as stack


@pytest.fixture
def client_of_redis(redis_server):
    with redis.Redis.from_url(redis_server) as client:
        client.flushdb()
        yield client


@pytest.fixture
async def link(redis_server, client_of_redis):
    link = RedisLink(redis_server, timeout=30)
    yield link
    await link.close()


@pytest.fixture
def store(link):
    return SessionStore(link, ttl=60, max_entries=3)


@pytest.fixture
def remember(store):
    async def remember(key, session_id="s1", store=store, **fields):
        facts = {"instance": "w1-i1", "generation": 1, "api_key_id": 7, "length": 3, "hits": 0, "created_at": 5.0}
        await store.remember(key, session_id=session_id, **(facts | fields))

    return remember


@pytest.fixture
async def silent_redis(tmp_path):
    """A directory with `silent.sock`, where connections are taken and nothing is answered."""
    server = await asyncio.start_unix_server(hold, tmp_path / "silent.sock")
    yield tmp_path
    server.close()


async def hold(reader, writer):
    """Read until the client gives up."""
    while await reader.read(4096):
        pass
    writer.close()
