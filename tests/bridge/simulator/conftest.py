"""Simulator processes for the tests of a module, and for one test."""

import pytest

from tests.bridge.simulator.harness import Simulator


@pytest.fixture
def start(tmp_path):
    """Start simulators with flags; they are gone when the test is over."""
    started = []

    def begin(*flags, name="work", **environ):
        started.append(Simulator(tmp_path / name, *flags, **environ))
        return started[-1]

    yield begin
    for simulator in started:
        simulator.stop()


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    """One that is logged in, shared by the tests of a module."""
    running = Simulator(tmp_path_factory.mktemp("simulator"), "--login=auto")
    yield running
    running.stop()
