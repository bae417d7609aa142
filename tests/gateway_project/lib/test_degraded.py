import logging

import pytest

from gateway_project.lib import degraded


@pytest.fixture(autouse=True)
def _well():
    yield
    for facts in degraded.active():
        degraded.end(facts.name)


def test_mode_is_logged_once_in_and_once_out(caplog):
    caplog.set_level(logging.INFO)
    for _ in range(1000):
        degraded.begin("redis", "connection refused")
    assert [(facts.name, facts.why, facts.times) for facts in degraded.active()] == [
        ("redis", "connection refused", 1000)
    ]
    degraded.end("redis")
    degraded.end("redis")
    assert degraded.active() == []
    told_in, told_out = caplog.messages
    assert "degraded: redis (connection refused)" in told_in
    assert "well again: redis" in told_out
    assert "1000 times" in told_out


def test_mode_names_what_still_works():
    for name, still in degraded.STILL_WORKS.items():
        degraded.begin(name, "away")
        assert still
    assert [facts.name for facts in degraded.active()] == list(degraded.STILL_WORKS) == list(degraded.PARTS)
