"""What web processes tell each other of their places."""

import msgspec
import pytest

from bridge.chat.errors import Overloaded
from bridge.fleet.place_exchange import PlaceExchange
from bridge.pool.options import InstanceOptions, PoolOptions
from bridge.pool.policy import Owner
from bridge.pool.shares import Shares
from gateway_project.lib.redis.redis_keys import PLACES
from gateway_project.lib.redis.redis_link import RedisLink
from tests.bridge.lingma.service import Service
from tests.bridge.pools import attached, running

ALICE = Owner(1, 7)


@pytest.fixture
async def link(redis_server):
    link = RedisLink(redis_server, timeout=30)
    await link.execute("FLUSHALL")
    yield link
    await link.close()


async def test_each_process_gets_what_the_others_hold(link):
    first, second, third = Shares(), Shares(), Shares()
    exchanges = [PlaceExchange(link, shares, f"p{number}") for number, shares in enumerate((first, second, third))]
    first.take(ALICE)
    second.take(ALICE)
    third.take(Owner(2, 7))
    for exchange in (*exchanges, *exchanges):
        await exchange.exchange()
    assert [(line.held, line.held_by_team) for line in (each.line(ALICE) for each in (first, second, third))] == [
        (2, 3)
    ] * 3


async def test_returned_places_are_announced(link):
    first, second = Shares(), Shares()
    one, two = PlaceExchange(link, first, "p1"), PlaceExchange(link, second, "p2")
    first.take(ALICE)
    second.take(Owner(2))
    await one.exchange()
    await two.exchange()
    assert second.line(ALICE).held == 1
    first.give_back(ALICE)
    await one.exchange()
    await two.exchange()
    assert second.line(ALICE).held == 0
    assert await link.execute("HKEYS", PLACES) == [b"p2"]


async def test_idle_process_forgets_what_others_held(link):
    first, second = Shares(), Shares()
    one, two = PlaceExchange(link, first, "p1"), PlaceExchange(link, second, "p2")
    first.take(ALICE)
    second.take(ALICE)
    await one.exchange()
    await two.exchange()
    second.give_back(ALICE)
    for _ in range(2):  # says so once, and asks no more
        await two.exchange()
    first.give_back(ALICE)
    await one.exchange()
    assert second.line(ALICE).held == 0


async def test_a_process_that_died_holds_nothing(link):
    shares = Shares()
    shares.take(ALICE)
    await link.execute("HSET", PLACES, "dead", b"1000 " + msgspec.json.encode({"keys": {1: 7}}))
    await PlaceExchange(link, shares, "p1").exchange()
    assert shares.line(ALICE).held == 1
    assert await link.execute("HKEYS", PLACES) == [b"p1"]


async def test_unreadable_report_costs_only_itself(link, caplog):
    shares = Shares()
    shares.take(ALICE)
    later = int((await link.execute("TIME"))[0]) + 1000
    for process, report in (("other", {"keys": {1: 1}}), ("newer", {"keys": "of another version"})):
        await link.execute("HSET", PLACES, process, b"%d %b" % (later, msgspec.json.encode(report)))
    exchange = PlaceExchange(link, shares, "p1")
    for _ in range(3):
        await exchange.exchange()
        assert shares.line(ALICE).held == 2
    assert caplog.text.count("the places of another process cannot be read") == 1


async def test_process_with_places_elsewhere_waits_for_those_without(link):
    async with Service() as one, Service() as two:
        limits = PoolOptions(2), InstanceOptions(limit=2)
        async with running(attached(one), *limits) as first, running(attached(two), *limits) as second:
            alice, bob, carol = Owner(1), Owner(2), Owner(3)
            elsewhere = [second.lease(owner=bob), second.lease(owner=bob)]
            places = [first.lease(owner=alice), first.lease(owner=carol)]
            for exchange in (PlaceExchange(link, second.shares, "second"), PlaceExchange(link, first.shares, "first")):
                await exchange.exchange()
            bobs, hers = first.queue(owner=bob), first.queue(owner=alice)
            places[1].release()
            assert (hers.lease.done(), bobs.lease.done()) == (True, False)
            places[0].release()
            assert bobs.lease.done()
            assert len(elsewhere) == 2


async def test_queue_is_one_of_all_processes(link):
    async with Service() as one, Service() as two:
        limits = PoolOptions(1, 4), InstanceOptions(limit=1)
        async with running(attached(one), *limits) as first, running(attached(two), *limits) as second:
            places = [pool.lease() for pool in (first, second)]
            waiting = [second.queue(owner=owner) for owner in (ALICE, Owner(2), Owner(3))]
            exchanges = PlaceExchange(link, second.shares, "second"), PlaceExchange(link, first.shares, "first")
            for exchange in exchanges:
                await exchange.exchange()
            # One is left: not for a key of which one waits, wherever that is.
            with pytest.raises(Overloaded, match="API key's share"):
                first.queue(owner=ALICE)
            first.queue(owner=Owner(4))
            with pytest.raises(Overloaded, match="queue is full"):
                first.queue(owner=Owner(5))
            for each in waiting:
                each.leave()
            for exchange in exchanges:
                await exchange.exchange()
            first.queue(owner=ALICE)
            assert len(places) == 2


async def test_queue_without_redis_is_its_own(link, tmp_path):
    async with Service() as one, Service() as two:
        limits = PoolOptions(1, 2), InstanceOptions(limit=1)
        async with running(attached(one), *limits) as first, running(attached(two), *limits) as second:
            places = [pool.lease() for pool in (first, second)]
            second.queue()
            second.queue(owner=ALICE)
            await PlaceExchange(link, second.shares, "second").exchange()
            away = RedisLink(f"unix://{tmp_path / 'nobody.sock'}")
            await PlaceExchange(link, first.shares, "first").exchange()
            with pytest.raises(Overloaded):
                first.queue()
            await PlaceExchange(away, first.shares, "first").exchange()
            first.queue()
            assert len(places) == 2
            await away.close()


async def test_process_without_redis_knows_its_own_places(tmp_path):
    away = RedisLink(f"unix://{tmp_path / 'nobody.sock'}")
    shares = Shares()
    shares.take(ALICE)
    await PlaceExchange(away, shares, "p1").exchange()
    assert shares.line(ALICE).held == 1
    await away.close()


async def test_an_idle_process_asks_nothing(link):
    await PlaceExchange(link, Shares(), "p1").exchange()
    assert await link.execute("EXISTS", PLACES) == 0
