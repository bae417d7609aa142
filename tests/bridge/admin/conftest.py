"""Heartbeats, as web processes send them."""

import time

import msgspec
import pytest
import redis

from bridge.status.instance import InstanceStatus


@pytest.fixture
def heartbeats(redis_server):
    with redis.Redis.from_url(redis_server) as client:
        client.flushdb()
        yield client
        client.flushdb()


@pytest.fixture
def beat(heartbeats):
    def beat(name, **changes):
        facts = {
            "name": name, "process": 1, "pid": 99, "generation": 1, "state": "ready", "login": True, "in_flight": 2,
            "limit": 8, "restarts": 4, "last_error": "", "version": "2.5.1", "upstream": "lingma", "models": 6,
            "started_at": time.time() - 7200, "at": time.time(),
        }  # fmt: skip
        heartbeats.set(f"lgw:instance:{name}", msgspec.json.encode(InstanceStatus(**facts | changes)), ex=120)

    return beat
