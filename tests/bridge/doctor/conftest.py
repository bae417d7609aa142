"""Installations to check: the database and the Redis are real, the gateway's lock is held by the test."""

import contextlib
import fcntl
import time

import pytest
import redis

from bridge.doctor.installation_state import open_state
from bridge.status.instance import InstanceStatus
from bridge.status.states import InstanceState
from gateway_project.env import Environment


@pytest.fixture
def status():
    """An instance that is well, but for the changes."""

    def status(**changes):
        well = {
            "name": "w1-i1", "process": 1, "pid": 99, "generation": 1, "state": "ready", "login": True, "in_flight": 0,
            "limit": 8, "restarts": 0, "last_error": "", "version": "2.11.1", "upstream": "lingma", "models": 6,
            "started_at": time.time(), "at": time.time(),
        }  # fmt: skip
        fields = well | changes
        return InstanceStatus(**fields | {"state": InstanceState(fields["state"])})

    return status


@pytest.fixture
def installed(redis_server, tmp_path, monkeypatch):
    """An installation whose environment has these variables; `held` is a gateway that runs on its data directory."""
    with contextlib.ExitStack() as opened:
        client = redis.Redis.from_url(redis_server)
        client.flushdb()

        def installed(*, held=False, redis_url=redis_server, **variables):
            for name, value in variables.items():
                monkeypatch.setenv(name, value)
            if held:
                lock = opened.enter_context((tmp_path / "supervisor.lock").open("w"))
                fcntl.flock(lock, fcntl.LOCK_EX)
            made = open_state(Environment(_env_file=None), tmp_path, redis_url, time.time())
            return opened.enter_context(contextlib.closing(made.redis)) and made

        yield installed
        client.flushdb()
        client.close()


@pytest.fixture
def findings():
    """What a check finds, as (level, text) pairs."""

    def findings(check, installed):
        return [(each.level, f"{each.what} {each.advice}".strip()) for each in check(installed)]

    return findings
