"""When Python's collector comes."""

import gc
import weakref

import pytest

from gateway_project.server.collector import EVERY_SEC, SHARE, Collector

LONG = 1e6 * EVERY_SEC


class Held:
    """Something that only the collector lets go of."""

    def __init__(self):
        self.itself = self


@pytest.fixture(autouse=True)
def uncollected():
    gc.disable()
    yield
    gc.enable()


def test_cycles_wait_a_minute_at_most():
    collector = Collector()
    collector.check(0)
    held = weakref.ref(Held())
    collector.check(EVERY_SEC - 1)
    assert held()
    collector.check(LONG)
    assert held() is None


def test_long_collections_come_seldom(monkeypatch):
    collector, clock = Collector(), iter([10.0, 13.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    collector.check(0)
    held = weakref.ref(Held())
    collector.check(3 / SHARE - 1)
    assert held()
    monkeypatch.undo()
    collector.check(3 / SHARE)
    assert held() is None
