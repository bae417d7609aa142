"""Places for turns in doubt: alone if that can be had soon, and a moment before anybody else begins there."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from bridge.chat.errors import Overloaded, Unavailable
from bridge.lingma.dialects.base import Ask
from bridge.pool import careful
from bridge.pool.options import PoolOptions
from bridge.pool.policy import Owner
from tests.bridge.lingma.service import answer
from tests.bridge.pools import attached, running

ALICE, BOB = Owner(1), Owner(2)


@pytest.fixture
async def start(services):
    async with AsyncExitStack() as stack:

        async def start(instances=1, **options):
            sources = attached(*services[:instances])
            return await stack.enter_async_context(running(sources, PoolOptions(**options)))

        yield start


def doubtful(pool, care=1, rank=0.0, owner=ALICE, again=True):
    until = asyncio.get_running_loop().time() + 30
    return pool.queue_with_care(care, rank, (), owner, until, again=again)


async def begun(waiter):
    return await asyncio.wait_for(waiter.lease, 30)


async def test_doubtful_turn_takes_an_idle_instance_at_once(start):
    pool = await start(2)
    pool.lease()
    assert doubtful(pool).lease.result().instance is pool.instances[1]


async def test_silent_doubtful_turn_is_left_alone(start, services):
    pool = await start()
    place = doubtful(pool).lease.result()
    turn = place.instance.ask(Ask("r1", "s1", "Hello", "org_auto"))
    assert pool.lease() is None
    other = pool.queue(owner=BOB)
    await (await services[0].peers.get()).push(answer("I am harmless"))
    assert (await begun(other)).instance is place.instance
    assert turn.end is None


async def test_silent_doubtful_turn_delays_others_only_briefly(start, monkeypatch):
    monkeypatch.setattr(careful, "WINDOW_SEC", 0.05)
    pool = await start()
    doubtful(pool).lease.result().instance.ask(Ask("r1", "s1", "Hello", "org_auto"))
    assert await begun(pool.queue(owner=BOB))


async def test_doubtful_turns_go_singly_and_latest_first(start):
    pool = await start()
    held = pool.lease()
    waiters = [doubtful(pool, rank=rank) for rank in (-1.0, -3.0, -2.0)]
    held.release()
    assert [waiter.lease.done() for waiter in waiters] == [False, True, False]
    waiters[1].lease.result().release()
    await begun(waiters[2])
    assert not waiters[0].lease.done()
    waiters[2].lease.result().release()
    await begun(waiters[0])
    assert pool.waiting == 0


async def test_busy_instance_is_kept_free_only_briefly(start, monkeypatch):
    monkeypatch.setattr(careful, "WINDOW_SEC", 0.3)
    pool = await start()
    held = pool.lease()
    waiter = doubtful(pool)
    assert pool.lease() is None
    assert (await begun(waiter)).instance is held.instance


async def test_empty_instance_comes_before_others_that_waited(start, monkeypatch):
    """Also where it is the one that has failed the turn: there a second exit shows who it was."""
    monkeypatch.setattr(careful, "WINDOW_SEC", 0.0)
    monkeypatch.setattr(careful, "SHORTEST_SEC", 0.0)
    pool = await start(2)
    silent, failed = pool.lease(), pool.lease()
    until = asyncio.get_running_loop().time() + 30
    waiter = pool.queue_with_care(1, 0.0, (failed.instance.name,), ALICE, until, again=True)
    assert not waiter.lease.done()
    failed.release()
    assert (await begun(waiter)).instance is failed.instance
    assert silent.instance.in_flight == 1


async def test_turn_seen_at_two_exits_is_always_alone(start, monkeypatch):
    monkeypatch.setattr(careful, "WINDOW_SEC", 0.01)
    pool = await start()
    held = pool.lease()
    waiter = doubtful(pool, care=2)
    other = pool.lease()
    await asyncio.sleep(0.3)  # several looks
    assert not waiter.lease.done()
    held.release()
    other.release()
    place = waiter.lease.result()
    assert pool.lease() is None
    late = pool.queue(owner=BOB)
    place.release()
    assert await begun(late)


async def test_waiter_that_leaves_sets_its_instance_free(start):
    pool = await start()
    pool.lease()
    waiter = doubtful(pool)
    assert pool.lease() is None
    waiter.leave()
    assert pool.lease() is not None
    assert pool.waiting == 0


async def test_doubtful_turns_count_in_queue_unless_placed_before(start):
    pool = await start(max_queue=1, max_in_flight=1)
    pool.lease()
    assert not doubtful(pool).lease.done()
    for care in (0, 1):
        with pytest.raises(Overloaded):
            doubtful(pool, owner=BOB, again=False) if care else pool.queue(owner=BOB)
    assert pool.queue(owner=BOB, again=True)
    assert pool.waiting == 2


async def test_doubtful_turns_learn_that_waiting_is_vain(start, services):
    pool = await start()
    pool.lease()
    waiter = doubtful(pool)
    services[0].answers["auth/status"] = {"status": 1}
    await (await services[0].peers.get()).push(("auth/report", {}))
    with pytest.raises(Unavailable):
        await begun(waiter)
    with pytest.raises(Unavailable):
        doubtful(pool)
    pool.end_turns("closing")
    with pytest.raises(Unavailable, match="closing"):
        doubtful(pool)


async def test_turns_in_doubt_go_first_in_a_row(start):
    pool = await start()
    held = pool.lease()
    waiters = [doubtful(pool, rank=float(rank)) for rank in range(3)]
    other = pool.queue(owner=BOB)
    held.release()
    for waiter in waiters:
        assert not other.lease.done()
        (await begun(waiter)).release()
    assert await begun(other)


async def test_time_in_row_does_not_grow_with_length(start, monkeypatch):
    monkeypatch.setattr(careful, "WINDOW_SEC", 2)
    pool = await start()
    async with asyncio.timeout(13):  # a window for each would be 14 s at least
        for waiter in [doubtful(pool, rank=float(rank)) for rank in range(8)]:
            (await begun(waiter)).instance.ask(Ask(f"r{id(waiter)}", "s", "Hello", "org_auto"))  # never heard of
    assert (pool.waiting, pool.in_flight) == (0, 8)


async def test_expired_row_keeps_nothing_for_lone_turns(start, monkeypatch):
    monkeypatch.setattr(careful, "WINDOW_SEC", 0.05)
    pool = await start()
    (await begun(doubtful(pool))).instance.ask(Ask("r1", "s1", "Hello", "org_auto"))
    alone = doubtful(pool, care=2)
    assert await begun(pool.queue(owner=BOB))
    assert not alone.lease.done()
    alone.leave()


async def test_the_next_row_has_its_own_time(start, monkeypatch):
    monkeypatch.setattr(careful, "WINDOW_SEC", 0.05)
    pool = await start()
    (await begun(doubtful(pool))).instance.ask(Ask("r1", "s1", "Hello", "org_auto"))
    (await begun(pool.queue(owner=BOB))).release()  # the time of the first is over
    monkeypatch.setattr(careful, "WINDOW_SEC", 30)
    waiter = doubtful(pool)
    assert pool.lease() is None
    waiter.leave()
    assert pool.lease() is not None


async def test_waiting_turns_run_between_two_doubtful_ones(start, monkeypatch):
    monkeypatch.setattr(careful, "WINDOW_SEC", 0)
    pool = await start()
    held = pool.lease()
    waiters = [doubtful(pool, rank=float(rank)) for rank in range(4)]
    others = [pool.queue(owner=BOB) for _ in range(2)]
    held.release()
    (await begun(waiters[0])).release()
    assert [other.lease.done() for other in others] == [True, True]
    assert not any(waiter.lease.done() for waiter in waiters[1:])
    for other in others:
        other.lease.result().release()
    assert waiters[1].lease.done()


async def test_lone_doubtful_turns_let_others_in_between(start):
    pool = await start()
    first, second = (doubtful(pool, care=2, rank=float(rank)) for rank in range(2))
    other = pool.queue(owner=BOB)
    first.lease.result().release()
    assert other.lease.done()
    assert not second.lease.done()
    other.lease.result().release()
    assert second.lease.done()


async def test_doubtful_turn_keeps_no_instance_for_long(start, services, monkeypatch):
    monkeypatch.setattr(careful, "ALONE_SEC", 0.05)
    pool = await start()
    lease = doubtful(pool, care=2).lease.result()
    lease.instance.ask(Ask("r1", "s1", "Hello", "org_auto"))
    assert pool.lease() is None
    assert (await begun(pool.queue(owner=BOB))).instance is lease.instance


async def test_doubtful_turns_alternate_between_keys(start):
    pool = await start()
    held = pool.lease()
    many = [doubtful(pool, rank=float(rank)) for rank in range(3)]
    one = doubtful(pool, rank=9.0, owner=BOB)
    held.release()
    (await begun(many[0])).release()
    assert [each.lease.done() for each in (one, many[1], many[2])] == [True, False, False]
    one.lease.result().release()
    assert many[1].lease.done()


async def test_two_doubtful_turns_are_never_silent_together(start, services, monkeypatch):
    """They would exit together, and the innocent one had been there twice."""
    monkeypatch.setattr(careful, "WINDOW_SEC", 0.02)
    monkeypatch.setattr(careful, "SHORTEST_SEC", 0.02)
    pool = await start()
    silent, next_one = doubtful(pool), doubtful(pool, rank=1.0)
    place = silent.lease.result()
    place.instance.watch(place.instance.ask(Ask("r1", "s1", "Hello", "org_auto")))
    assert await begun(pool.queue(owner=BOB))  # others are not held up
    assert not next_one.lease.done()
    await (await services[0].peers.get()).push(answer("I am harmless"))
    assert (await begun(next_one)).instance is place.instance
