"""A place is free for whoever asks next, however a turn's end comes to Redis; and no lease is made anew behind it."""

import asyncio
import time

import pytest

from accounts.limits.admission import SCRIPTS, Limits
from accounts.limits.counters import look_up
from accounts.limits.scripts import ADMIT
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_link import RedisLink
from tests.accounts.conftest import OwnRedis, until
from tests.accounts.limits.test_admission import caller

pytestmark = pytest.mark.usefixtures("patience")

WHO = caller(concurrency=1, tpm=100_000)
_, TOKENS, TURNS, _ = redis_keys.limits("key", 1)


@pytest.fixture
async def front(redis_server, link):
    """Of another process."""
    other = RedisLink(redis_server, timeout=30)
    yield Limits(other)
    await other.close()


async def knows_admission_only(link):
    """As a server that was started anew, once a page has looked at limits."""
    _, keys, args = look_up(WHO.limits, time.time())
    await link.execute("SCRIPT", "FLUSH")
    await link.execute("EVAL", ADMIT.text, len(keys), *keys, *args)


async def test_place_is_free_though_script_is_unknown(link):
    limits = Limits(link)
    first = await limits.admit(WHO, "first")
    await knows_admission_only(link)
    first.release(tokens=7)
    await link.execute("PING")  # as the row, whose reply ends the turn
    assert (await limits.admit(WHO, "second")).is_shared
    assert await link.execute("HVALS", TOKENS) == [b"7"]


async def test_place_is_free_once_end_is_told(link, front):
    limits = Limits(link)
    for number in range(20):
        await front.admit(WHO, f"r{number}")
        adopted = limits.adopt(WHO, f"r{number}", at=time.time())
        await knows_admission_only(link)
        adopted.release(tokens=7)
        assert adopted.is_ending
        async with asyncio.timeout(30):
            while adopted.is_ending:
                await adopted.ended()


async def test_silent_redis_does_not_hold_the_end(own_redis):
    link = RedisLink(own_redis.url, timeout=60)
    admission = await Limits(link).admit(WHO, "first")
    own_redis.freeze()
    admission.release()
    async with asyncio.timeout(30):  # the link alone waits for a minute
        await admission.ended()
    assert admission.is_ending
    own_redis.thaw()
    await link.close()


async def test_place_is_free_when_redis_is_back(tmp_path, monkeypatch):
    monkeypatch.setattr("accounts.limits.admission.RENEW", 60)
    redis = OwnRedis(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    link = RedisLink(redis.url, timeout=30, retry_after=0.05)
    limits = Limits(link)
    first = await limits.admit(WHO, "first")
    redis.kill()
    await until(lambda: not link.available)
    first.release(tokens=7)
    assert limits.unsettled_count == 1
    redis.start()
    await until(lambda: link.available)
    assert (await limits.admit(WHO, "second")).is_shared
    assert await link.execute("HVALS", TOKENS) == [b"7"]
    assert limits.unsettled_count == 0
    await link.close()
    redis.kill()


@pytest.fixture
def renewing(monkeypatch, link):
    """`renewing(limits)` waits until it has renewed all its leases."""
    monkeypatch.setattr("accounts.limits.admission.RENEW", 0.01)

    async def renewing(limits):
        # Behind the others: places are renewed in the order in which they were first held.
        last = await limits.admit(caller(concurrency=1, key_id=2), "last")
        turns = redis_keys.limits("key", 2)[2]
        await link.execute("ZADD", turns, 1, "last")
        async with asyncio.timeout(30):
            while float(await link.execute("ZSCORE", turns, "last")) == 1:
                await asyncio.sleep(0.01)
        last.release()

    return renewing


async def test_lease_settled_elsewhere_is_not_renewed(link, front, renewing):
    lent = await front.admit(WHO, "r")
    lent.lend()
    await renewing(front)
    assert await link.execute("ZCARD", TURNS) == 1
    adopted = Limits(link).adopt(WHO, "r", at=time.time())
    adopted.release()
    await renewing(front)
    assert await link.execute("ZCARD", TURNS) == 0
    lent.take_back()
    await renewing(front)
    assert await link.execute("ZCARD", TURNS) == 1


async def test_renewal_by_unknown_script_holds_nothing(link, monkeypatch):
    monkeypatch.setattr("accounts.limits.admission.RENEW", 0)
    limits = Limits(link)
    for number in range(20):
        admission = await limits.admit(WHO, f"r{number}")
        flushed = link.execute("SCRIPT", "FLUSH")
        await asyncio.gather(flushed, *(link.execute("SCRIPT", "LOAD", each.text) for each in SCRIPTS))
        admission.release()
        await until(lambda: limits._renewing.done())
        assert await link.execute("ZCARD", TURNS) == 0
