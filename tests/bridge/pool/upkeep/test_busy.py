"""An instance whose every place is taken is busy, and serves."""

import pytest

from bridge.pool.instances.orders import Order
from bridge.pool.members import Members
from bridge.pool.options import InstanceOptions, PoolOptions
from bridge.pool.upkeep.busy import FULL_SEC, ROOM_SEC, Busy, Spell
from bridge.status.states import TAKING_TURNS
from bridge.status.transitions import TransitionReason
from bridge.status.wanted import Mode
from tests.bridge.pools import attached, in_state, running

LOOKS = 100


@pytest.fixture
async def pool(services):
    async with running(attached(services[0]), PoolOptions(2, 8, 5.0), InstanceOptions(limit=2)) as pool:
        yield pool


def test_instance_is_busy_without_a_free_place(pool):
    instance = pool.instances[0]
    first = pool.lease()
    assert instance.state == "ready"
    second = pool.lease()
    assert [each.state for each in pool.statuses()] == ["busy"]
    assert pool.ready
    assert instance.state in TAKING_TURNS
    second.release()
    assert instance.state == "ready"
    first.release()


async def test_full_instance_that_drains_is_no_longer_busy(pool):
    leases = [pool.lease(), pool.lease()]
    pool.upkeep.obey({"w1-i1": Order(Mode.DRAIN)})
    assert pool.instances[0].state == "draining"
    pool.upkeep.obey({})
    assert pool.instances[0].state == "busy"
    for lease in leases:
        lease.release()
    await in_state(pool, "ready")


def steps(pool):
    return [(each.state, each.why, each.detail) for each in pool.instances[0].timeline.pending()][2:]


def test_timeline_has_a_spell_with_its_length(pool):
    busy, leases = Busy(Members(pool.instances)), [pool.lease(), pool.lease()]
    for second in range(31):
        busy.look(second)
    assert steps(pool) == [("busy", TransitionReason.FULL, "")]
    leases[0].release()
    for second in range(31, 60):
        busy.look(second)
    assert steps(pool)[1:] == [("ready", TransitionReason.ROOM, "31 s")]
    assert [each.at for each in pool.instances[0].timeline.pending()][2:] == [0, 31]
    leases[1].release()


def test_spell_ends_unsaid_with_the_connection(pool):
    busy, leases = Busy(Members(pool.instances)), [pool.lease(), pool.lease()]
    for second in range(5):
        busy.look(second)
    pool.upkeep.obey({"w1-i1": Order(Mode.DRAIN)})
    pool.upkeep.obey({})
    for lease in leases:
        lease.release()
    for second in range(5, 40):
        busy.look(second)
    assert [why for _, why, _ in steps(pool)] == [TransitionReason.FULL, TransitionReason.ORDER, TransitionReason.ORDER]


@pytest.mark.parametrize("full_every", [2, 3, 9])
def test_flicker_never_reaches_the_timeline(full_every):
    spell = Spell()
    assert not [look for now in range(LOOKS) if (look := spell.look(now, is_full=now % full_every == 0))]


def test_busy_spell_survives_short_breaks():
    spell = Spell()
    begun = [spell.look(now, is_full=True) for now in range(LOOKS)]
    assert [each for each in begun if each] == [(TransitionReason.FULL, 0, 0.0)]
    assert begun[int(FULL_SEC)]
    assert not any(spell.look(LOOKS + now, is_full=now % ROOM_SEC == 0) for now in range(LOOKS))
