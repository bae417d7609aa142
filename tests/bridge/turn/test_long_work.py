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
    running = [asyncio.create_task(work.run(working(name, done))) for name in "ab"]
    while not all(each.done() for each in running):
        done.append("other")
        await asyncio.sleep(0)
    assert [each.result() for each in running] == ["a", "b"]
    assert all("other" in pair for pair in pairwise(done))
    assert [each for each in done if each != "other"] == ["a", "b"] * 20


async def test_cancelled_work_leaves_room_for_others():
    work, done = LongWork(), []
    running = asyncio.create_task(work.run(working("a", done, 1000)))
    while not done:
        await asyncio.sleep(0)
    running.cancel()
    assert await work.run(working("b", done, 2)) == "b"
    assert done.count("a") < 10
