"""Clocks as the doctor sees them."""

import time

import msgspec
import pytest

from bridge.doctor import clocks, components


def test_redis_on_this_machine_has_the_same_time(installed, findings):
    state = installed()
    state.redis_answers = True
    assert findings(clocks.clocks, state) == [("ok", "Redis: the same time as here")]


@pytest.mark.parametrize(
    ("by", "level", "words"),
    [(-5, "warn", "Redis is 5.0 s behind"), (300, "fail", "Redis is 300.0 s ahead")],
)
def test_other_time_is_told(installed, findings, monkeypatch, by, level, words):
    state = installed()
    state.redis_answers = True
    monkeypatch.setattr(state.redis, "time", lambda: (int(time.time() + by), 500_000))
    monkeypatch.setattr(clocks.time, "time", lambda: float(int(time.time_ns() / 1e9)) + 0.5)
    [(said, text)] = findings(clocks.clocks, state)
    assert (said, text) == (level, f"{words} Have every machine set its clock by NTP.")


@pytest.mark.django_db
def test_database_server_alone_has_a_clock(installed, findings):
    from django.db import connection

    state = installed()
    state.database_answers = True
    found = findings(clocks.clocks, state)
    assert found == ([("ok", "the database: the same time as here")] if connection.vendor == "postgresql" else [])


def test_heartbeat_from_the_future_is_a_clock(installed, findings, status):
    state = installed()
    state.heartbeats = [status(at=state.now + 60), status(name="w1-i2", at=state.now - 10)]
    assert [level for level, _ in findings(clocks.clocks, state)] == ["fail"]


def test_slow_look_makes_no_clock_wrong(installed, findings, status):
    state = installed()
    state.now -= 60  # so long the looks before it have taken
    state.redis.set("lgw:instance:w1-i1", msgspec.json.encode(status()))
    findings(components.store, state)
    assert findings(clocks.clocks, state) == [("ok", "Redis: the same time as here")]
