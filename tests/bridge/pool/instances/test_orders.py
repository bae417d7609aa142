"""What operators want of instances, done at once and without a failure."""

import asyncio
import time

import pytest

from bridge.chat.errors import Unavailable
from bridge.lingma.dialects.base import Ask
from bridge.pool.instances.orders import Order, Orders
from bridge.pool.options import InstanceOptions
from bridge.status.accounts import Remedy
from bridge.status.states import InstanceState
from bridge.status.wanted import Mode
from tests.bridge.lingma.conftest import ended
from tests.bridge.lingma.service import Service, finish
from tests.bridge.living import alive, gone
from tests.bridge.pools import attached, in_state, running, simulator, until

QUICK = "first_ms=0 delay_ms=0"
DRAIN, STOP = Order(Mode.DRAIN), Order(Mode.STOP)


def give(pool, order):
    pool.upkeep.obey({instance.name: order for instance in pool.instances})


def ask(pool, text, request_id="r1"):
    return pool.instances[0].ask(Ask(request_id, f"s-{request_id}", text, "org_auto"))


@pytest.mark.parametrize(
    ("order", "remedy", "state"),
    [
        (Order(), Remedy.NONE, "ready"),
        (Order(), Remedy.LOGIN, "login_required"),
        (Order(restart_before=time.time() - 60), Remedy.NONE, "ready"),
        (Order(restart_before=time.time() + 3600), Remedy.NONE, "draining"),
        (DRAIN, Remedy.NONE, "draining"),
        (STOP, Remedy.LOGIN, "draining"),
        (Order(cool_until=time.time() + 3600), Remedy.NONE, "cooling"),
        (Order(cool_until=time.time() + 3600), Remedy.TIME, "degraded"),
        (Order(cool_until=time.time() - 1), Remedy.NONE, "ready"),
    ],
)
def test_state_follows_order_and_account(order, remedy, state):
    orders = Orders()
    orders.run_begins(time.time())
    orders.take(order)
    assert orders.state_of(remedy) == InstanceState(state)


def test_run_of_a_clock_ahead_is_restarted():
    """As of a machine whose clock was set back when it heard of the right time."""
    orders = Orders()
    orders.run_begins(time.time() + 8 * 3600)
    orders.take(Order(restart_before=time.time() - 86_400))
    assert not orders.is_asked_to_restart
    orders.take(Order(restart_before=time.time()))
    assert orders.is_asked_to_restart
    orders.run_begins(time.time())
    assert not orders.is_asked_to_restart
    orders.take(Order())  # nobody orders anything any more
    assert not orders.is_asked_to_restart


async def test_drained_instance_finishes_and_takes_nothing():
    async with Service() as service, running(attached(service)) as pool:
        peer = await service.peers.get()
        lease = pool.lease()
        turn = lease.instance.ask(Ask("r1", "s1", "Hello", "org_auto"))
        assert not pool.upkeep.is_held
        give(pool, DRAIN)
        assert pool.upkeep.is_held
        assert pool.statuses()[0].state == "draining"
        with pytest.raises(Unavailable, match="operators of this gateway have paused it"):
            pool.lease()
        await peer.push(finish("r1"))
        await ended(turn)
        assert turn.end.error is None
        lease.release()
        give(pool, Order())
        assert pool.statuses()[0].state == "ready"
        assert pool.lease() is not None


async def test_stopped_instance_starts_again_when_wanted(tmp_path):
    async with running([simulator(tmp_path, "--login=auto")]) as pool:
        pid = pool.statuses()[0].pid
        give(pool, STOP)
        await in_state(pool, "stopped")
        assert await gone(pid)
        assert (pool.statuses()[0].restarts, pool.statuses()[0].last_error) == (0, "")
        assert not pool.instances[0].back_within(30)
        give(pool, Order())
        await in_state(pool, "ready")
        assert alive(pool.statuses()[0].pid)


async def test_order_does_not_revive_an_ending_run(tmp_path):
    async with running([simulator(tmp_path, "--login=auto", "--ignore-sigint=1")]) as pool:
        before = pool.statuses()[0].pid
        give(pool, STOP)
        # Its connection is closed by then, and its program takes seconds to end. Nobody is told of that.
        async with asyncio.timeout(30):
            while pool.statuses()[0].pid:
                await asyncio.sleep(0.01)
        assert pool.statuses()[0].state == "draining"
        give(pool, Order())
        assert (pool.statuses()[0].state, pool.ready, pool.lease()) == ("draining", False, None)
        await in_state(pool, "ready")
        assert pool.statuses()[0].pid not in (0, before)


async def test_attached_service_is_connected_anew_on_restart():
    async with Service() as service, running(attached(service)) as pool:
        peer = await service.peers.get()
        lease = pool.lease()
        turn = lease.instance.ask(Ask("r1", "s1", "Hello", "org_auto"))
        give(pool, Order(restart_before=time.time()))
        assert pool.statuses()[0].state == "draining"
        # Who comes now waits: the next run begins in a moment.
        assert pool.lease() is None
        waiter = pool.queue()
        await peer.push(finish("r1"))
        await ended(turn)
        lease.release()
        assert (await asyncio.wait_for(waiter.lease, 30)).instance.name == "w1-i1"
        assert pool.statuses()[0].restarts == 0
        await service.peers.get()


async def test_drain_before_stop_is_bounded(tmp_path):
    async with running([simulator(tmp_path, "--login=auto")], instances=InstanceOptions(drain=0.2)) as pool:
        lease = pool.lease()
        turn = ask(pool, "[[sim: text=Hello chunks=2 first_ms=0 delay_ms=600000]]")
        await turn.drain()
        give(pool, STOP)
        await ended(turn)
        assert turn.end.error is not None
        lease.release()
        await in_state(pool, "stopped")


async def test_lifted_stop_ends_no_turn():
    async with Service() as service, running(attached(service)) as pool:
        peer = await service.peers.get()
        first = pool.lease()
        turn = ask(pool, "Hello")
        give(pool, STOP)
        # The life of the instance waits for its turns by then, and not for an order any more.
        await asyncio.sleep(0.2)
        give(pool, Order())
        assert pool.statuses()[0].state == "ready"
        await peer.push(finish("r1"))
        await ended(turn)
        first.release()
        await asyncio.sleep(0.2)
        other = ask(pool, "Hello again", "r2")
        await peer.push(finish("r2"))
        await ended(other)
        assert (other.end.error, pool.statuses()[0].state) == (None, "ready")
        assert service.peers.empty()


async def test_order_by_a_clock_ahead_is_obeyed_once():
    async with Service() as service, running(attached(service)) as pool:
        await service.peers.get()
        give(pool, Order(restart_before=time.time() + 3600))
        async with asyncio.timeout(30):
            await service.peers.get()
        await in_state(pool, "ready")
        assert service.peers.empty()


async def test_pause_ends_by_itself_or_by_order():
    async with Service() as service, running(attached(service)) as pool:
        give(pool, Order(cool_until=time.time() + 0.3))
        assert pool.statuses()[0].state == "cooling"
        assert pool.lease() is None  # worth waiting for
        await in_state(pool, "ready")
        give(pool, Order(cool_until=time.time() + 3600))
        assert not pool.instances[0].back_within(30)
        give(pool, Order())
        assert pool.statuses()[0].state == "ready"


async def test_cleared_instance_is_tried_at_once(tmp_path):
    async with running([simulator(tmp_path, "--login=auto", "--start-fails=1")], ready=False) as pool:
        await until(pool, lambda: pool.statuses()[0].restarts >= 4)
        (tmp_path / "simulator.json").write_text('{"start_fails": false}')
        give(pool, Order(cleared_at=time.time()))
        await in_state(pool, "ready")
        assert pool.statuses()[0].mode is Mode.RUN


async def test_order_reaches_instance_that_cannot_start(tmp_path):
    async with running([simulator(tmp_path, "--login=auto", "--start-fails=1")], ready=False) as pool:
        await until(pool, lambda: pool.statuses()[0].restarts >= 2)
        give(pool, STOP)
        await in_state(pool, "stopped")
        assert pool.statuses()[0].pid == 0


async def test_other_instance_takes_turns_of_a_drained_one():
    async with Service() as first, Service() as second, running(attached(first, second)) as pool:
        pool.upkeep.obey({"w1-i1": DRAIN})
        leases = [pool.lease() for _ in range(4)]
        assert {lease.instance.name for lease in leases} == {"w1-i2"}
