"""One process at a time replaces an instance of a login."""

import pytest

from bridge.fleet.replacement_lease import LIFETIME_SEC, RedisReplacementLease
from gateway_project.lib.redis.redis_link import RedisLink


@pytest.fixture
async def leases(redis_server):
    links = [RedisLink(redis_server, timeout=30), RedisLink(redis_server)]
    await links[0].execute("DEL", "lgw:replacing:7", "lgw:replacing:8")
    yield RedisReplacementLease(links[0], "one"), RedisReplacementLease(links[1], "two")
    for link in links:
        await link.close()


async def test_one_process_at_a_time_has_it(leases):
    one, two = leases
    assert await one.take(7, 2)
    assert not await two.take(7, 3)
    assert await two.take(8, 1)
    assert await one.take(7, 2)
    await two.give_back(7)  # not its own
    assert not await two.take(7, 3)
    await one.give_back(7)
    assert await two.take(7, 2)


async def test_older_generation_never_gets_it(leases):
    one, two = leases
    assert await one.take(7, 3)
    await one.give_back(7)
    assert not await two.take(7, 2)
    assert not await one.take(7, 2)
    assert await two.take(7, 3)


async def test_lease_of_dead_process_ends(leases, redis_server):
    one, two = leases
    assert await one.take(7, 1)
    link = one._link
    until = int(await link.execute("HGET", "lgw:replacing:7", "until"))
    now = int((await link.execute("TIME"))[0])
    assert 0 < until - now <= LIFETIME_SEC
    assert 0 < int(await link.execute("TTL", "lgw:replacing:7")) <= 600
    await link.execute("HSET", "lgw:replacing:7", "until", now - 1)
    assert await two.take(7, 1)
    assert not await one.take(7, 1)


async def test_lease_is_given_to_all_without_redis():
    link = RedisLink("unix:///nowhere/redis.sock")
    lease = RedisReplacementLease(link, "one")
    assert await lease.take(7, 1)
    await lease.give_back(7)
    await link.close()
