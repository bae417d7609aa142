"""Places, and the line of turns that wait for one, over services that really answer."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from bridge.chat.errors import ConnectionLost, Overloaded, RateLimited, Unavailable, UpstreamFailed
from bridge.lingma.dialects.base import Ask
from bridge.pool.instances.orders import Order
from bridge.pool.options import InstanceOptions, PoolOptions
from bridge.pool.policy import Owner
from bridge.pool.pool import Pool, retry_hint
from tests.bridge.lingma.conftest import ended
from tests.bridge.pools import attached, in_state, running, until

ALICE, BOB = Owner(1), Owner(2)


@pytest.fixture
async def start(services):
    async with AsyncExitStack() as stack:

        async def start(instances=1, most=8, waiting=256, limit=8):
            options = PoolOptions(most, waiting, 5.0)
            sources = attached(*services[:instances])
            return await stack.enter_async_context(running(sources, options, InstanceOptions(limit=limit)))

        yield start


async def test_turns_are_spread_over_the_instances(start):
    pool = await start(2)
    assert [pool.lease().instance.name for _ in range(4)] == ["w1-i1", "w1-i2", "w1-i1", "w1-i2"]
    assert [status.in_flight for status in pool.statuses()] == [2, 2]


async def test_a_session_brings_its_turn_to_its_instance(start):
    pool = await start(2)
    holder = pool.instances[1]
    assert {pool.lease(holder.affinity).instance for _ in range(4)} == {holder}


async def test_turns_at_once_never_exceed_the_bound(start):
    pool = await start(2, most=3)
    leases = [pool.lease() for _ in range(3)]
    assert pool.lease() is None
    leases[0].release()
    assert pool.lease() is not None


async def test_an_instance_takes_no_more_than_its_limit(start):
    pool = await start(2, most=8, limit=1)
    leases = [pool.lease(), pool.lease(pool.instances[0].affinity)]
    assert [lease.instance.name for lease in leases] == ["w1-i1", "w1-i2"]
    assert pool.lease() is None


async def test_waiting_turns_are_served_in_order(start):
    pool = await start(most=1)
    lease = pool.lease()
    waiters = [pool.queue() for _ in range(3)]
    for waiter in waiters:
        assert pool.lease() is None
        lease.release()
        assert [each.lease.done() for each in waiters] == [each.lease.done() or each is waiter for each in waiters]
        lease = waiter.lease.result()
    lease.release()
    assert (pool.waiting, pool.in_flight) == (0, 0)


async def test_a_lease_that_is_released_twice_counts_once(start):
    pool = await start(most=2)
    lease, other = pool.lease(), pool.lease()
    lease.release()
    lease.release()
    assert (pool.in_flight, pool.instances[0].in_flight) == (1, 1)
    other.release()


async def test_waiter_that_leaves_the_line_is_skipped(start):
    pool = await start(most=1)
    lease = pool.lease()
    first, second = pool.queue(), pool.queue()
    for _ in range(2):  # a second time does nothing
        first.leave()
    lease.release()
    assert second.lease.done()
    assert pool.waiting == 0


async def test_untaken_lease_goes_to_the_next(start):
    pool = await start(most=1)
    lease = pool.lease()
    first, second = pool.queue(), pool.queue()
    lease.release()
    first.leave()
    assert second.lease.done()
    second.leave()
    assert pool.in_flight == 0


async def test_full_line_refuses_with_retry_after(start):
    pool = await start(most=1, waiting=2)
    pool.lease()
    waiters = [pool.queue(owner=ALICE), pool.queue(owner=BOB)]
    with pytest.raises(Overloaded, match="queue is full") as raised:
        pool.queue(owner=Owner(3))
    assert 1 <= raised.value.retry_after <= 30
    assert len(waiters) == pool.waiting


async def test_key_gets_its_share_of_the_queue(start):
    pool = await start(most=1, waiting=8)
    pool.lease(owner=ALICE)
    waiters = [pool.queue(owner=ALICE) for _ in range(4)]
    with pytest.raises(Overloaded, match="share of the queue") as raised:
        pool.queue(owner=ALICE)
    assert (raised.value.allowed, raised.value.value) == (4, 4)
    assert not pool.queue(owner=BOB).lease.done()
    assert len(waiters) == 4


async def test_the_next_free_place_is_anothers(start):
    pool = await start(most=2)
    leases = [pool.lease(owner=ALICE), pool.lease(owner=ALICE)]
    hers, his = [pool.queue(owner=ALICE) for _ in range(3)], pool.queue(owner=BOB)
    leases[0].release()
    assert his.lease.done()
    leases[1].release()
    assert [waiter.lease.done() for waiter in hers] == [True, False, False]
    his.lease.result().release()
    assert hers[1].lease.done()


async def test_turn_never_waits_without_a_ready_instance(services):
    services[0].answers["auth/status"] = {"status": 1}
    async with running(attached(services[0]), ready=False) as pool:
        await in_state(pool, "login_required")
        with pytest.raises(Unavailable, match="w1-i1 login_required") as raised:
            pool.lease()
    assert 1 <= raised.value.retry_after <= 30


async def test_a_pool_of_nothing_is_unavailable():
    with pytest.raises(Unavailable, match="none configured"):
        Pool([], 1, PoolOptions(), InstanceOptions()).lease()


async def test_waiting_turn_is_served_by_returning_instance(services, start):
    pool = await start(most=2)
    lost = pool.lease()
    await services[0].drop()
    await in_state(pool, "starting")
    assert pool.lease() is None
    waiter = pool.queue()
    assert (await asyncio.wait_for(waiter.lease, 30)).instance is lost.instance


async def test_waiting_turns_learn_that_no_instance_returns(services, start):
    pool = await start(most=1)
    pool.lease()
    waiters = [pool.queue(), pool.queue()]
    services[0].answers["auth/status"] = {"status": 1}
    await (await services[0].peers.get()).push(("auth/report", {}))
    for waiter in waiters:
        with pytest.raises(Unavailable, match="login_required"):
            await asyncio.wait_for(waiter.lease, 30)
    assert pool.waiting == 0


async def test_turns_wait_for_no_instance_back_too_late(services, start):
    pool = await start()
    services[0].answers["initialize"] = {"error": {"code": -32603, "message": "broken"}}
    await services[0].drop()
    await until(pool, lambda: pool.statuses()[0].state == "backoff" and pool.statuses()[0].restarts == 2)
    with pytest.raises(Unavailable, match="backoff") as raised:
        pool.lease(until=asyncio.get_running_loop().time())
    assert 1 <= raised.value.retry_after <= 30
    assert pool.lease() is None


async def test_lost_connection_frees_no_place_for_its_turn(services, start):
    pool = await start()
    turn = pool.lease().instance.ask(Ask("r1", "s1", "Hello", "org_auto"))
    await services[0].drop()
    await ended(turn)
    assert pool.lease() is None


async def test_waiting_turns_get_the_remaining_instance(services, start):
    pool = await start(2, limit=1, most=2)
    first, second = pool.lease(), pool.lease()
    waiter = pool.queue()
    await services[0].drop()
    await in_state(pool, "starting", "busy")
    assert not waiter.lease.done()
    first.release()
    assert not waiter.lease.done()
    second.release()
    assert waiter.lease.result().instance.name == "w1-i2"


async def test_an_instance_that_becomes_ready_serves_the_waiting(services, start):
    services[1].answers["auth/status"] = {"status": 1}
    async with running(attached(*services), PoolOptions(8), InstanceOptions(limit=1), ready=False) as pool:
        await in_state(pool, "ready", "login_required")
        pool.lease()
        waiter = pool.queue()
        services[1].answers["auth/status"] = {"status": 2}
        await (await services[1].peers.get()).push(("auth/report", {}))
        assert (await asyncio.wait_for(waiter.lease, 30)).instance.name == "w1-i2"


async def test_models_of_all_instances_are_listed_once(services, start):
    services[1].answers["config/queryModels"] = {
        "chat": [{"key": "coder", "displayName": "Qwen3-Coder"}, {"key": "max", "displayName": "Qwen3-Max"}]
    }
    pool = await start(2)
    assert [model.key for model in pool.models()] == ["org_auto", "coder", "max"]
    first, second = pool.instances
    assert [each.model_key("qwen3-max") for each in (first, second)] == [None, "max"]
    assert (first.model_key("coder"), first.model_key("AUTO"), first.model_key("gpt-4o")) == ("coder", "org_auto", None)


async def test_everything_can_be_ended_with_a_word(start):
    pool = await start(most=1)
    lease = pool.lease()
    turn = lease.instance.ask(Ask("r1", "s1", "Hello", "org_auto"))
    waiter = pool.queue()
    pool.end_turns("closing")
    await ended(turn)
    assert (type(turn.end.error), str(turn.end.error)) == (UpstreamFailed, "closing")
    with pytest.raises(Unavailable, match="closing"):
        await waiter.lease
    lease.release()
    with pytest.raises(Unavailable, match="closing"):
        pool.lease()


async def test_a_stop_ends_turns_and_instances(services, start):
    pool = await start(2)
    turn = pool.lease().instance.ask(Ask("r1", "s1", "Hello", "org_auto"))
    await pool.stop()
    assert [instance.state for instance in pool.instances] == ["stopped", "stopped"]
    await ended(turn)
    assert isinstance(turn.end.error, ConnectionLost)
    with pytest.raises(Unavailable):
        pool.lease()


async def test_service_rate_limit_gets_retry_after(start):
    pool = await start()
    assert 1 <= retry_hint(RateLimited("slow down"), pool).retry_after <= 30
    assert retry_hint(RateLimited("slow down", retry_after=7), pool).retry_after == 7
    assert retry_hint(UpstreamFailed("broken"), pool).retry_after is None


async def test_refusal_names_the_end_of_a_pause(start):
    pool = await start(2)
    pool.upkeep.obey({"": Order(cool_until=time.time() + 500), "w1-i2": Order(cool_until=time.time() + 900)})
    with pytest.raises(Unavailable) as refused:
        pool.lease()
    assert 480 <= refused.value.retry_after <= 500


async def test_refusal_names_the_next_restart(services, start):
    pool = await start()
    services[0].answers["initialize"] = {"error": {"code": -32603, "message": "broken"}}
    await services[0].drop()
    # Each pause is longer than the one before, so a machine that is late sees the next one.
    await until(pool, lambda: pool.statuses()[0].state == "backoff" and pool.instances[0].back_in() > 2)
    with pytest.raises(Unavailable) as refused:
        pool.lease(until=asyncio.get_running_loop().time())
    assert refused.value.retry_after >= pool.instances[0].back_in()


async def test_refusal_without_known_end_has_set_time(services):
    services[0].answers["auth/status"] = {"status": 1}
    options = PoolOptions(queue_timeout=0, retry_unknown=600)
    async with running(attached(services[0]), options, ready=False) as pool:
        await in_state(pool, "login_required")
        with pytest.raises(Unavailable) as refused:
            pool.lease()
        assert 400 <= refused.value.retry_after <= 600
        assert 400 <= retry_hint(RateLimited("slow down"), pool).retry_after <= 600
