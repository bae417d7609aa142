"""More and fewer instances at run time, with turns under way."""

import asyncio

import msgspec
import pytest

from bridge.lingma.dialects.base import Ask
from bridge.pool.instances.orders import Order
from bridge.pool.options import InstanceOptions, PoolOptions
from bridge.pool.upkeep.sizing import number_of
from bridge.status.wanted import Mode
from tests.bridge.lingma.conftest import ended
from tests.bridge.lingma.service import Service, finish
from tests.bridge.living import alive, gone
from tests.bridge.pools import attached, in_state, running, simulator, until

EACH = PoolOptions(8, places_each=8)


def names(pool):
    return [instance.name for instance in pool.instances]


def may_grow(pool, *services):
    """Have the pool find its next instances at these services."""
    specs = attached(*services)
    pool.upkeep.spec_of = lambda number: specs[number - 1]


@pytest.mark.parametrize(("name", "number"), [("w1-i1", 1), ("node-7-w12-i31", 31)])
def test_number_is_the_last_part(name, number):
    assert number_of(name) == number


@pytest.mark.parametrize(
    ("options", "most", "limits"), [(EACH, 16, [8, 8]), (PoolOptions(9), 9, [5, 5])], ids=["each", "in all"]
)
async def test_added_instances_bring_or_share_places(services, options, most, limits):
    async with running(attached(services[0]), options) as pool:
        may_grow(pool, *services)
        pool.upkeep.resize(2)
        await in_state(pool, "ready", "ready")
        assert (names(pool), pool.most) == (["w1-i1", "w1-i2"], most)
        assert [instance.limit for instance in pool.instances] == limits
        leases = [pool.lease() for _ in range(4)]
        assert [lease.instance.name for lease in leases] == ["w1-i1", "w1-i2"] * 2


async def test_added_instance_obeys_what_is_wanted(services):
    async with running(attached(services[0]), EACH) as pool:
        may_grow(pool, *services)
        pool.upkeep.obey({"w1-i2": Order(Mode.DRAIN)})
        pool.upkeep.resize(2)
        await in_state(pool, "ready", "draining")
        assert pool.statuses()[1].mode is Mode.DRAIN


async def test_instance_that_leaves_finishes_its_turns(services):
    async with running(attached(*services), EACH) as pool:
        may_grow(pool, *services)
        pool.upkeep.obey({})
        leases = [pool.lease(), pool.lease()]
        turn = leases[1].instance.ask(Ask("r1", "s1", "Hello", "org_auto"))
        peer = await services[1].peers.get()
        pool.upkeep.resize(1)
        assert [each.state for each in pool.statuses()] == ["ready", "draining"]
        assert {pool.lease().instance.name for _ in range(3)} == {"w1-i1"}
        await peer.push(finish("r1"))
        await ended(turn)
        assert turn.end.error is None
        leases[1].release()
        await until(pool, lambda: names(pool) == ["w1-i1"])
        assert pool.most == 8


async def test_turns_of_what_leaves_end_in_time(services):
    options = InstanceOptions(retire=0.2)
    async with running(attached(*services), EACH, options) as pool:
        may_grow(pool, *services)
        leases = [pool.lease(), pool.lease()]
        turn = leases[1].instance.ask(Ask("r1", "s1", "Hello", "org_auto"))
        pool.upkeep.resize(1)
        await ended(turn)
        assert turn.end.error is not None
        assert names(pool) == ["w1-i1"]
        leases[1].release()
        assert pool.in_flight == 1


async def test_instance_may_stay_after_all(services):
    async with running(attached(*services), EACH) as pool:
        may_grow(pool, *services)
        pool.upkeep.obey({})
        leases = [pool.lease(), pool.lease()]
        second = pool.instances[1]
        pool.upkeep.resize(1)
        await asyncio.sleep(0.2)
        pool.upkeep.resize(2)
        assert [each.state for each in pool.statuses()] == ["ready", "ready"]
        leases[1].release()
        await asyncio.sleep(0.2)
        assert pool.instances[1] is second


async def test_instance_stays_that_is_wanted_while_another_ends(tmp_path):
    slow = ("--login=auto", "--ignore-sigint=1")
    specs = [simulator(tmp_path / f"i{number}", *(slow if number == 2 else slow[:1])) for number in (1, 2, 3)]
    async with running(specs, EACH) as pool:
        pool.upkeep.spec_of = lambda number: specs[number - 1]
        pool.upkeep.obey({})
        third = pool.instances[2]
        pool.upkeep.resize(1)
        await until(pool, lambda: names(pool) == ["w1-i1", "w1-i3"])
        pool.upkeep.resize(3)
        await in_state(pool, "ready", "ready", "ready")
        assert pool.instances[2] is third


async def test_successor_hears_what_is_said_to_all(tmp_path):
    first = simulator(tmp_path / "i1", "--login=auto", "--start-delay-ms=1500")
    async with running([first], PoolOptions(9)) as pool:
        pool.upkeep.spec_of = lambda number: simulator(tmp_path / f"i{number}", "--login=auto")
        before = pool.instances[0]
        pool.upkeep.replace("w1-i1")
        await until(pool, lambda: pool.statuses()[0].replacing)
        pool.upkeep.resize(2)
        pool.upkeep.expect_logins(expected=True)
        await until(pool, lambda: pool.instances[0] is not before)
        assert [instance.limit for instance in pool.instances] == [5, 5]
        assert all(instance.login.is_expected for instance in pool.instances)


async def test_waiting_turn_gets_an_added_instance(services):
    async with running(attached(services[0]), PoolOptions(1, places_each=1), InstanceOptions(limit=1)) as pool:
        may_grow(pool, *services)
        pool.lease()
        waiter = pool.queue()
        pool.upkeep.resize(2)
        async with asyncio.timeout(30):
            assert (await waiter.lease).instance.name == "w1-i2"


async def test_programs_come_and_go(tmp_path):
    first = simulator(tmp_path / "i1", "--login=auto")
    async with running([first], EACH) as pool:
        pool.upkeep.spec_of = lambda number: msgspec.structs.replace(first, work_dir=tmp_path / f"i{number}")
        for _ in range(2):
            pool.upkeep.resize(2)
            await in_state(pool, "ready", "ready")
            pid = pool.statuses()[1].pid
            assert alive(pid)
            pool.upkeep.resize(1)
            await until(pool, lambda: names(pool) == ["w1-i1"])
            assert await gone(pid)
        pool.upkeep.replace("w1-i1")
        before = pool.instances[0]
        await until(pool, lambda: pool.instances[0] is not before)


async def test_attached_services_are_as_many_as_named():
    async with Service() as service, running(attached(service), EACH) as pool:
        pool.upkeep.resize(3)
        await asyncio.sleep(0.05)
        assert names(pool) == ["w1-i1"]
