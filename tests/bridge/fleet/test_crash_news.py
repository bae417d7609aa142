"""Prompts in doubt, told from one web process to the others."""

import pytest
import redis

from bridge.fleet.crash_news import CrashNews
from bridge.pool.crashes import LIFETIME_SEC, MOST, Crashes, Seen
from gateway_project.lib.redis_keys import CRASHES
from gateway_project.lib.redis_link import RedisLink


@pytest.fixture
async def link(redis_server):
    with redis.Redis.from_url(redis_server) as client:
        client.flushdb()
    link = RedisLink(redis_server)
    yield link
    await link.close()


@pytest.fixture
def clock(monkeypatch):
    def at(seconds):
        monkeypatch.setattr("bridge.fleet.crash_news.time.time", lambda: seconds)

    at(1000)
    return at


async def test_what_one_process_learns_all_know(link, clock):
    here, there = Crashes(), Crashes()
    here.exited("1:x", alone=True, now=1000)
    here.exited("1:x", alone=True, now=1000)
    here.exited("2:y", alone=False, now=1000)
    for crashes in (here, there):
        await CrashNews(link, crashes).exchange()
    assert there.seen == here.seen == {"1:x": Seen(2, True, 1000, weighs=True), "2:y": Seen(1, False, 1000)}
    assert here.unsent == {}


async def test_what_is_harmless_is_so_for_all(link, clock):
    here, there = Crashes(), Crashes()
    here.exited("1:x", alone=True, now=1000)
    for crashes in (here, there):
        await CrashNews(link, crashes).exchange()
    there.answered("1:x")
    for crashes in (there, here):
        await CrashNews(link, crashes).exchange()
    assert here.seen == {}


async def test_what_is_old_or_too_much_is_dropped(link, clock):
    crashes = Crashes()
    crashes.exited("1:old", alone=True, now=0)
    for number in range(MOST):
        crashes.exited(f"1:{number}", alone=True, now=900 + number / 1000)
        await CrashNews(link, crashes).exchange()
    crashes.exited("1:last", alone=True, now=1000)
    await CrashNews(link, crashes).exchange()
    assert (len(crashes.seen), "1:0" in crashes.seen, "1:last" in crashes.seen) == (MOST, False, True)
    clock(1001 + LIFETIME_SEC)
    await CrashNews(link, crashes).exchange()
    assert crashes.seen == {}
    assert await link.execute("EXISTS", CRASHES) == 0


async def test_without_redis_a_process_knows_its_own(link, clock):
    crashes = Crashes()
    crashes.exited("1:x", alone=True, now=1000)
    await link.execute("SET", CRASHES, "something else")
    news = CrashNews(link, crashes)
    with pytest.raises(redis.ResponseError):
        await news.exchange()
    assert (crashes.seen, crashes.unsent) == ({"1:x": Seen(1, False, 1000, weighs=True)},) * 2


async def test_no_key_has_those_of_another_forgotten(link, clock):
    mine, theirs = Crashes(), Crashes()
    mine.exited("1:old", alone=False, now=900)
    await CrashNews(link, mine).exchange()
    for part in range(3):
        for number in range(MOST):
            theirs.exited(f"2:{part}-{number}", alone=False, now=950 + part)
        await CrashNews(link, theirs).exchange()
    assert (len(theirs.seen), "1:old" in theirs.seen) == (MOST, True)
