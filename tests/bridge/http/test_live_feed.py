"""The feed of the live page: one snapshot for all, none for nobody, and room for so many."""

import asyncio

import pytest

from bridge.http import live_feed
from bridge.http.live_feed import LiveFeed


@pytest.fixture
def made():
    return []


@pytest.fixture
async def feed(made):
    async def snapshot():
        made.append(len(made))
        return str(made[-1])

    return LiveFeed(snapshot, every_sec=0.01)


async def following(feed):
    async with asyncio.timeout(10):
        return await asyncio.shield(feed.upcoming())


async def test_watchers_get_the_same_snapshot(feed, made):
    assert feed.enter(1)
    assert feed.enter(2)
    first, second = await asyncio.gather(following(feed), following(feed))
    assert first == second
    assert int(await following(feed)) == int(first) + 1


async def test_snapshots_are_not_made_while_nobody_watches(feed, made):
    feed.enter(1)
    await following(feed)
    feed.leave(1)
    before = len(made)
    await asyncio.sleep(0.1)
    assert len(made) == before
    feed.enter(1)
    assert int(await following(feed)) == before


async def test_sockets_are_bounded_by_user_and_in_all(feed, monkeypatch):
    monkeypatch.setattr(live_feed, "MOST", 3)
    monkeypatch.setattr(live_feed, "MOST_OF_USER", 2)
    assert [feed.enter(user) for user in (1, 1, 1, 2, 3)] == [True, True, False, True, False]
    feed.leave(1)
    assert feed.enter(3)
    assert feed.watching == 3


async def test_broken_snapshot_does_not_end_the_feed(caplog):
    answers = iter([ValueError("broken"), "2"])

    async def snapshot():
        answer = next(answers, "later")
        if isinstance(answer, Exception):
            raise answer
        return answer

    feed = LiveFeed(snapshot, every_sec=0.01)
    feed.enter(1)
    assert await following(feed) == "2"
    assert "no snapshot for the live page" in caplog.text
