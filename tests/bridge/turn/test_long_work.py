"""Long work of turns: in slices, in turn, and with time for others."""

import asyncio
import time
from itertools import pairwise

from bridge.turn.long_work import SLICE_SEC, LongWork


def working(name, done, steps=20):
    for _ in range(steps):
        began = time.perf_counter()
        while time.perf_counter() - began < SLICE_SEC:
            pass
        done.append(name)
        yield
    return name


async def test_long_work_lets_others_run():
    done = []
    work = LongWork()
    running = [asyncio.create_task(work.run(1, working(name, done))) for name in "ab"]
    while not all(each.done() for each in running):
        done.append("other")
        await asyncio.sleep(0)
    assert [each.result() for each in running] == ["a", "b"]
    assert all("other" in pair for pair in pairwise(done))
    assert [each for each in done if each != "other"] == ["a", "b"] * 20


async def test_cancelled_work_leaves_room_for_others():
    work, done = LongWork(), []
    running = asyncio.create_task(work.run(1, working("a", done, 1000)))
    while not done:
        await asyncio.sleep(0)
    running.cancel()
    assert await work.run(1, working("b", done, 2)) == "b"
    assert done.count("a") < 10


async def test_long_work_of_keys_takes_turns():
    work, done = LongWork(), []
    many = [asyncio.create_task(work.run(1, working("many", done, 20))) for _ in range(8)]
    while not done:
        await asyncio.sleep(0)
    await work.run(2, working("one", done, 5))
    assert done.count("many") <= 8
    for each in many:
        each.cancel()
    await asyncio.gather(*many, return_exceptions=True)
