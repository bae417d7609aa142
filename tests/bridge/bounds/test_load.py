"""Bytes of bodies in work: for all and for one key; large ones leave others their time."""

import asyncio

import pytest

from bridge.bounds.load import BodyLoad
from bridge.chat.errors import RateLimited, Unavailable

MIB = 1 << 20


def test_a_key_holds_half_and_others_the_rest():
    load = BodyLoad(4 * MIB)
    first, second, other = load.hold(1), load.hold(1), load.hold(2)
    first.grow(2 * MIB)
    with pytest.raises(RateLimited) as refused:
        second.grow(1)
    assert refused.value.retry_after == 1
    other.grow(2 * MIB)
    with pytest.raises(Unavailable):
        load.hold(3).grow(1)
    first.release()
    second.grow(2 * MIB)
    assert (first.size, second.size) == (0, 2 * MIB)


def test_refused_growth_is_not_counted():
    load = BodyLoad(4 * MIB)
    held = load.hold(1)
    held.grow(MIB)
    with pytest.raises(RateLimited):
        held.grow(2 * MIB)
    held.grow(MIB)
    held.release()
    held.release()
    load.hold(1).grow(2 * MIB)


def test_a_decoded_body_counts_as_it_is():
    load = BodyLoad(8 * MIB)
    held = load.hold(1)
    held.grow(MIB)
    held.grow(3 * MIB)
    held.release(keep=3 * MIB)
    load.hold(1).grow(MIB)
    held.release(keep=3 * MIB)
    assert held.size == 3 * MIB


async def test_large_bodies_take_turns_with_others():
    load, order = BodyLoad(8 * MIB), []

    async def large(name):
        await load.turn_of_large(1)
        order.append(name)
        loop = asyncio.get_running_loop()
        busy_until = loop.time() + 0.05
        while loop.time() < busy_until:
            pass

    async def small():
        while "third" not in order:
            if order[-1:] != ["small"]:
                order.append("small")
            await asyncio.sleep(0)

    await asyncio.gather(large("first"), large("second"), large("third"), small())
    places = [order.index(name) for name in ("first", "second", "third")]
    assert places == sorted(places)
    assert "small" in order[places[0] : places[1]]
    assert "small" in order[places[1] : places[2]]


async def test_large_bodies_of_keys_take_turns():
    load, order = BodyLoad(8 * MIB), []

    async def large(key):
        await load.turn_of_large(key)
        order.append(key)

    async with asyncio.timeout(30):
        await asyncio.gather(*(large(key) for key in (1, 1, 1, 1, 2)))
    assert order == [1, 2, 1, 1, 1]


async def test_waiter_that_gives_up_keeps_nobody_waiting():
    load = BodyLoad(8 * MIB)
    await load.turn_of_large(1)
    waiting = asyncio.ensure_future(load.turn_of_large(1))
    await asyncio.sleep(0)
    assert waiting.cancel()
    await asyncio.wait_for(load.turn_of_large(1), 30)
