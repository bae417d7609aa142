"""Refusals at a bounded pace: a flood of them leaves the process to others, and a single one waits for nothing."""

import asyncio

from bridge.bounds.patience import BURST_SEC, LONGEST_SEC, RATE, Pace, wait_or_gone


def test_refusals_now_and_then_wait_for_nothing():
    pace = Pace()
    assert [pace.wait(now) for now in range(1000)] == [0.0] * 1000
    at_once = int(RATE * BURST_SEC) - 1
    assert [pace.wait(5000.0) for _ in range(at_once)] == [0.0] * at_once


def test_a_flood_is_answered_one_after_the_other():
    pace = Pace()
    times = [100.0 + pace.wait(100.0) for _ in range(1000)]
    assert times == sorted(times)
    within_a_second = [sum(at <= each < at + 1 for each in times) for at in (100.5, 102.0, 103.0)]
    assert max(within_a_second) <= RATE + 1
    assert pace.wait(110.0) == 0.0


def test_waits_are_never_longer_than_the_bound():
    pace = Pace()
    assert max(pace.wait(100.0) for _ in range(100_000)) == LONGEST_SEC
    assert pace.wait(100.0 + LONGEST_SEC + BURST_SEC) == 0.0


async def test_client_that_leaves_is_not_waited_for():
    messages = [{"type": "http.request", "more_body": False}, {"type": "http.disconnect"}]

    async def receive():
        return messages.pop(0)

    await asyncio.wait_for(wait_or_gone(receive, 3600.0), 30)
    assert messages == []


async def test_a_body_is_not_read_meanwhile():
    read = []

    async def receive():
        read.append("a part")
        return {"type": "http.request", "body": b"x", "more_body": True}

    await wait_or_gone(receive, 0.01)
    assert read == ["a part"]
