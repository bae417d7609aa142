"""An instance that refuses turns, in a pool: left alone, tried by one turn, and open to all with its first word."""

import asyncio

import pytest

from bridge.chat.errors import Forbidden, RateLimited, UpstreamFailed
from bridge.lingma.dialects.base import Ask
from bridge.pool.instances import account_suspicion
from bridge.pool.instances.breaker import LEAST_FAILED
from bridge.pool.instances.orders import Order
from bridge.pool.options import InstanceOptions, PoolOptions
from tests.bridge.lingma.service import Service, answer, finish
from tests.bridge.pools import attached, in_state, running


async def refuse(peer, params):
    await peer.push(finish(params["requestId"], code=429))


async def begin(peer, params):
    """A reply that goes on."""
    await peer.push(answer("a word", params["requestId"]))


async def turn(lease, number):
    stream = lease.instance.ask(Ask(f"r{number}", f"s{number}", "x", "org_auto"))
    while stream.end is None and not stream.has_begun:
        await stream.drain()
    return stream


async def refused(pool):
    lease = pool.lease()
    stream = await turn(lease, "refused")
    lease.release()
    assert isinstance(stream.end.error, RateLimited)
    await in_state(pool, "cooling")


async def test_one_turn_opens_it_for_all():
    async with Service(on_ask=refuse) as service, running(attached(service)) as pool:
        await refused(pool)
        status = pool.statuses()[0]
        assert (status.cools_for, status.cool_until > status.at) == ("limited", True)
        waiters = [pool.queue() for _ in range(3)]
        service.on_ask = begin
        async with asyncio.timeout(30):
            await asyncio.wait({each.lease for each in waiters}, return_when=asyncio.FIRST_COMPLETED)
        assert [each.lease.done() for each in waiters] == [True, False, False]
        stream = await turn(waiters[0].lease.result(), 1)
        async with asyncio.timeout(30):
            leases = [await each.lease for each in waiters]
        assert (stream.end, pool.statuses()[0].cools_for) == (None, "")
        leases[0].instance.give_up(stream)
        for lease in leases:
            lease.release()


async def test_turn_that_leaves_lets_the_next_one_try():
    async with Service(on_ask=refuse) as service, running(attached(service)) as pool:
        await refused(pool)
        first, second = pool.queue(), pool.queue()
        async with asyncio.timeout(30):
            (await first.lease).release()
            assert (await second.lease).is_probe
        second.leave()


async def test_pause_ends_when_cleared():
    options = InstanceOptions(longest_pause=60)
    async with Service(on_ask=refuse) as service, running(attached(service), instances=options) as pool:
        await refused(pool)
        pool.upkeep.obey({"w1-i1": Order(cleared_at=1.0)})
        assert [each.state for each in pool.instances] == ["ready"]
        lease = pool.lease()
        assert not lease.is_probe
        lease.release()


async def test_refusal_passes_the_limit_on():
    async def later(peer, params):
        await peer.push(finish(params["requestId"], code=429, reason="please retry after 20 seconds"))

    options = PoolOptions(queue_timeout=0.1)
    async with Service(on_ask=later) as service, running(attached(service), options) as pool:
        await refused(pool)
        with pytest.raises(RateLimited) as refusal:
            pool.lease()
        # However long the service says: where nobody else can take turns it is asked again soon.
        assert refusal.value.retry_after == 1


async def test_lone_instance_is_asked_although_turns_fail():
    async def fail(peer, params):
        await peer.push(finish(params["requestId"], code=500))

    async with Service(on_ask=fail) as service, running(attached(service)) as pool:
        for number in range(2 * LEAST_FAILED):
            lease = pool.lease()
            stream = await turn(lease, number)
            assert isinstance(stream.end.error, UpstreamFailed)
            lease.release()
        assert pool.statuses()[0].cools_for == ""


async def test_forbidden_turn_has_the_account_read():
    """By itself it would be read in half a minute, and its models later still."""

    async def forbid(peer, params):
        service.answers["auth/status"] = {"status": 1}  # and no push says so
        await peer.push(finish(params["requestId"], code=403))

    async with Service(on_ask=forbid) as service, running(attached(service)) as pool:
        before = pool.instances[0].state_since
        lease = pool.lease()
        stream = await turn(lease, 1)
        lease.release()
        assert (type(stream.end.error), stream.end.error.code) == (Forbidden, None)
        await in_state(pool, "login_required")
        assert pool.instances[0].state_since > before


async def test_many_forbidden_turns_cost_one_look(monkeypatch):
    """An account that refuses each turn is not read with each of them."""
    monkeypatch.setattr(account_suspicion, "AGAIN_SEC", 3600.0)  # twenty turns may take longer than it lasts

    async def forbid(peer, params):
        await peer.push(finish(params["requestId"], code=403))

    def looks():
        return service.methods().count("auth/status")

    async with Service(on_ask=forbid) as service, running(attached(service)) as pool:
        before = looks()
        for number in range(20):
            lease = pool.lease()
            assert isinstance((await turn(lease, number)).end.error, Forbidden)
            lease.release()
            await service.got("auth/status", times=before + 1)
        # A report is looked into at once, behind all that was to be looked into before.
        await (await service.peers.get()).push(("auth/report", {}))
        await service.got("auth/status", times=before + 2)
        await in_state(pool, "ready")
        assert looks() == before + 2
