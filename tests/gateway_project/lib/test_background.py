"""Work that must not end."""

import asyncio
from contextlib import suppress

import pytest

from gateway_project.lib import background as beside


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr(beside, "RETRY_SEC", 0.01)


@pytest.mark.parametrize(
    "trouble", [RuntimeError("can't start new thread"), OSError(24, "Too many open files")], ids=str
)
async def test_failed_work_is_logged_and_started_again(soon, caplog, trouble):
    tries = []

    async def work():
        tries.append(1)
        if len(tries) < 3:
            raise trouble

    await beside.keep_going(work)
    assert len(tries) == 3
    assert [record.exc_info[1] for record in caplog.records] == [trouble, trouble]


async def test_work_broken_off_by_another_starts_again(soon, caplog):
    tries = []

    async def work():
        tries.append(1)
        if len(tries) == 1:
            given_up = asyncio.get_running_loop().create_future()
            given_up.cancel()
            await given_up

    await beside.keep_going(work)
    assert (len(tries), len(caplog.records)) == (2, 1)


async def test_work_that_is_cancelled_ends():
    task = asyncio.create_task(beside.keep_going(asyncio.Event().wait))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_work_that_misses_a_cancellation_ends():
    began = asyncio.Event()

    async def work():
        for _ in range(2):
            began.set()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)

    task = asyncio.create_task(work())
    await began.wait()
    await beside.end({task}, within=20)
    assert task.done()


async def test_task_that_does_not_end_is_named(caplog):
    began, over = asyncio.Event(), asyncio.Event()

    async def stubborn():
        while not over.is_set():
            began.set()
            with suppress(asyncio.CancelledError):
                await over.wait()

    task = asyncio.create_task(stubborn())
    await began.wait()
    await beside.end({task}, within=0.04)
    assert not task.done()
    assert "stubborn" in caplog.text
    over.set()
    await task


@pytest.mark.parametrize(("shorter", "longer"), [(0.5, 0.5), (0.5, 1.0), (0.25, 2.0)])
async def test_pauses_end_at_the_same_moments(monkeypatch, shorter, longer):
    loop = asyncio.get_running_loop()

    def end(begun, seconds):
        with monkeypatch.context() as patch:
            patch.setattr(loop, "time", lambda: begun)
            return begun + beside.until_next(seconds)

    for ms in range(2_000):
        apart = (end(1_000 + ms / 1_000, shorter) - end(1_000.0, longer)) % shorter
        assert min(apart, shorter - apart) < 1e-6
        assert shorter / 10 < end(1_000 + ms / 1_000, shorter) - (1_000 + ms / 1_000) <= 1.1 * shorter + 1e-6
