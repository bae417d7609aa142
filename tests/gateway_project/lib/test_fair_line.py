"""Places and threads that keys take in turn."""

import asyncio
import threading

import pytest

from gateway_project.lib.fair_line import FairLine, FairThreads, LineFull


async def served(line, *keys):
    """The order in which these get a place, each of which is left at once."""
    order = []

    async def one(key):
        await line.enter(key)
        order.append(key)
        line.leave(key)

    await line.enter(0)
    tasks = [asyncio.create_task(one(key)) for key in keys]
    await asyncio.sleep(0)
    line.leave(0)
    async with asyncio.timeout(30):
        await asyncio.gather(*tasks)
    return order


async def test_keys_take_turns_whoever_has_more():
    assert await served(FairLine(), 1, 1, 1, 1, 2, 3, 2) == [1, 2, 3, 1, 2, 1, 1]


async def test_one_key_leaves_places_to_others():
    line = FairLine(places=3, per_key=2)
    await line.enter(1)
    await line.enter(1)
    third = asyncio.create_task(line.enter(1))
    await asyncio.sleep(0)
    assert (third.done(), line.waiting(1)) == (False, 1)
    await asyncio.wait_for(line.enter(2), 30)
    line.leave(1)
    await asyncio.wait_for(third, 30)
    assert line.waiting(1) == 0


async def test_one_key_fills_half_of_the_line():
    line = FairLine(most_waiting=4)
    await line.enter("a")
    waiting = [asyncio.create_task(line.enter(key)) for key in "aaabbb"]
    await asyncio.sleep(0)
    assert [task.done() for task in waiting] == [False, False, True, False, False, True]
    assert all(isinstance(waiting[full].exception(), LineFull) for full in (2, 5))
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert not line._waiting


async def test_full_line_has_room_for_who_has_fewer():
    line = FairLine(most_waiting=8)
    await line.enter(0)
    crowd = [asyncio.create_task(line.enter(key)) for key in (1, 1, 1, 1, 2, 2, 2, 2)]
    await asyncio.sleep(0)
    third, fourth = asyncio.create_task(line.enter(3)), asyncio.create_task(line.enter(4))
    await asyncio.sleep(0)
    crowd[7].cancel()  # in the moment after it had to go
    async with asyncio.timeout(30):
        results = await asyncio.gather(crowd[3], crowd[7], return_exceptions=True)
    assert [type(result) for result in results] == [LineFull, asyncio.CancelledError]
    assert [line.waiting(key) for key in (1, 2, 3, 4)] == [3, 3, 1, 1]
    line.leave(0)
    for key, task in ((1, crowd[0]), (2, crowd[4]), (3, third), (4, fourth)):
        await asyncio.wait_for(task, 30)
        line.leave(key)
    for key, task in ((1, crowd[1]), (2, crowd[5]), (1, crowd[2]), (2, crowd[6])):
        await asyncio.wait_for(task, 30)
        line.leave(key)
    await asyncio.wait_for(line.enter(5), 30)


async def test_task_that_leaves_line_keeps_no_place():
    line = FairLine()
    await line.enter(1)
    waiting = [asyncio.create_task(line.enter(key)) for key in (1, 1, 2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    assert line.waiting(1) == 1
    line.leave(1)  # the second has it, and leaves before it knows
    waiting[1].cancel()
    await asyncio.wait_for(waiting[2], 30)
    line.leave(2)
    assert await served(line, 3) == [3]
    assert not line._taken
    assert not line._waiting


async def test_thread_is_busy_until_its_work_ends():
    threads, go_on, order = FairThreads("test", threads=1), threading.Event(), []

    def long():
        assert go_on.wait(30)
        order.append("long")

    left = asyncio.create_task(threads.run(1, long, 30))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    with pytest.raises(TimeoutError):
        await threads.run(1, lambda: order.append("too early"), 0.05)
    assert threads.waiting(1) == 0
    go_on.set()
    await threads.run(2, lambda: order.append("short"), 30)
    assert order == ["long", "short"]


async def test_errors_of_the_work_are_raised():
    with pytest.raises(ZeroDivisionError):
        await FairThreads("test").run(1, lambda: 1 // 0, 30)
