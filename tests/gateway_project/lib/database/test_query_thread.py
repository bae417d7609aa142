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


async def test_queries_behind_a_hanging_one_lose_nothing(gate):
    thread = QueryThread("test")
    waiting = [thread.run(query, 0.05) for query in (gate.wait, *[lambda: 1] * MOST_LOST)]
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert all("no answer" in str(each) for each in found)
    assert len(thread._lost) == 1
    assert await thread.run(lambda: 42, 10) == 42


async def test_thread_of_a_cancelled_caller_is_replaced(gate):
    thread = QueryThread("test")
    caller = asyncio.ensure_future(thread.run(gate.wait, 60))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(OperationalError, match="no answer"):
        await thread.run(lambda: 1, 0.05)
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
