"""Queries that do not come back."""

import asyncio
import threading

import pytest
from django.db import OperationalError

from gateway_project.lib.query_thread import MOST_LOST, QueryThread


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


async def test_a_query_that_does_not_come_back_stops_no_other(gate):
    thread = QueryThread("test")
    with pytest.raises(OperationalError, match="no answer within"):
        await thread.run(gate.wait, 0.05)
    assert await thread.run(lambda: 42, 10) == 42


async def test_threads_are_lost_up_to_a_bound_until_one_comes_back(gate):
    thread = QueryThread("test")
    for _ in range(MOST_LOST):
        with pytest.raises(OperationalError, match="no answer"):
            await thread.run(gate.wait, 0.05)
    with pytest.raises(OperationalError, match="do not come back"):
        await thread.run(lambda: 42, 10)
    gate.set()
    async with asyncio.timeout(10):
        while thread._lost:
            await asyncio.sleep(0.01)
    assert await thread.run(lambda: 42, 10) == 42


async def test_what_a_query_raises_is_told_also_when_it_is_late(gate):
    def broken():
        gate.wait()
        raise OperationalError("late")

    thread = QueryThread("test")
    with pytest.raises(OperationalError, match="no answer"):
        await thread.run(broken, 0.05)
    gate.set()
    with pytest.raises(OperationalError, match="late"):
        await thread.run(broken, 10)
