"""Queries that do not come back."""

import asyncio
import threading

import pytest
from django.db import OperationalError

from gateway_project.lib.database.query_thread import MOST_LOST, QueryThread


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


async def test_hanging_query_stops_no_other(gate):
    thread = QueryThread("test")
    with pytest.raises(OperationalError, match="no answer within"):
        await thread.run(gate.wait, 0.05)
    assert await thread.run(lambda: 42, 10) == 42


async def test_lost_threads_are_bounded(gate):
    thread = QueryThread("test")
    for _ in range(MOST_LOST):
        with pytest.raises(OperationalError, match="no answer"):
            await thread.run(gate.wait, 0.05)
    with pytest.raises(OperationalError, match="do not come back"):
        await thread.run(lambda: 42, 10)
    gate.set()
    async with asyncio.timeout(30):
        while thread._lost:
            await asyncio.sleep(0.01)
    assert await thread.run(lambda: 42, 10) == 42


async def test_late_query_errors_are_reported(gate):
    def broken():
        gate.wait()
        raise OperationalError("late")

    thread = QueryThread("test")
    with pytest.raises(OperationalError, match="no answer"):
        await thread.run(broken, 0.05)
    gate.set()
    with pytest.raises(OperationalError, match="late"):
        await thread.run(broken, 10)
