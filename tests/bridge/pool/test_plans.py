"""Logins whose plan is used up: others take their turns, and where there is no other nobody waits."""

import asyncio
import time

import pytest

from bridge.chat.errors import NoPlan
from bridge.logins.work_dir import Held
from bridge.pool.instances.orders import Order
from bridge.status.wanted import Mode
from tests.bridge.chats import Reading, chat, once, replying, request
from tests.bridge.pools import until

NO_PLAN = replying(code=112)


def asked(*services):
    return [len(service.asks()) for service in services]


def pauses(pool):
    return [status.cools_for for status in pool.statuses()]


async def refused(engine):
    """A turn that no login can take, and that has not waited for one."""
    reading = Reading(engine, request("Hi"))
    with pytest.raises(NoPlan):
        await reading.to_end()
    assert (reading.record.queued, reading.record.reason) == (False, "insufficient_quota")


@pytest.mark.parametrize("code", [112, 10011])
async def test_login_without_plan_fails_no_turn(new_service, new_engine, code):
    without = await new_service(replying(code=code))
    good = [await new_service(replying("Hello")) for _ in range(2)]
    engine = await new_engine(without, *good)
    done = [await chat(engine, request("Hi")) for _ in range(6)]
    assert {(each.text, each.record.status) for each in done} == {("Hello", "ok")}
    assert len(done[0].record.lost) == 1
    assert pauses(engine.pool) == ["no_plan", "", ""]
    assert sum(asked(*good)) == 6


@pytest.mark.parametrize(
    ("code", "cause"), [(400, ""), (418, ""), (500, ""), (403, "no_plan"), (429, "no_plan")], ids=str
)
async def test_words_of_a_request_pause_no_login(new_service, new_engine, code, cause):
    quoting = replying(code=code, reason="messages[0].name 'insufficient_quota' does not match [a-z]+")
    engine = await new_engine(await new_service(quoting), await new_service(replying("Hello")))
    done = [await chat(engine, request("Hi")) for _ in range(2)]
    assert {(each.text, each.record.status) for each in done} == {("Hello", "ok")}
    assert pauses(engine.pool) == [cause, ""]


async def test_turn_tries_a_login_whose_pause_is_over(new_service, new_engine):
    renewed, good = await new_service(once(NO_PLAN, replying("again"))), await new_service(replying("Hello"))
    engine = await new_engine(renewed, good)
    texts = []
    async with asyncio.timeout(30):
        while "again" not in texts:
            texts.append((await chat(engine, request("Hi"))).text)
            await asyncio.sleep(0.01)
    assert set(texts) == {"again", "Hello"}
    assert pauses(engine.pool) == ["", ""]


async def test_pauses_for_a_plan_grow(new_service, new_engine):
    engine = await new_engine(await new_service(NO_PLAN), await new_service(replying("Hello")))
    breaker = engine.pool.instances[0].health.breaker
    async with asyncio.timeout(60):
        while breaker.pauses < 2:
            assert (await chat(engine, request("Hi"))).text == "Hello"
            await asyncio.sleep(0.01)
    status = engine.pool.statuses()[0]
    assert (status.state, status.cools_for) == ("cooling", "no_plan")
    assert status.cool_until > time.time()


async def test_pause_for_a_plan_ends_when_cleared(new_service, new_engine):
    engine = await new_engine(await new_service(NO_PLAN), await new_service(replying("Hello")))
    await chat(engine, request("Hi"))
    assert pauses(engine.pool) == ["no_plan", ""]
    engine.pool.upkeep.obey({"w1-i1": Order(cleared_at=1.0)})
    assert (pauses(engine.pool), engine.pool.instances[0].state) == (["", ""], "ready")


async def test_instances_of_one_login_pause_together(new_service, new_engine):
    services = [await new_service(each) for each in (NO_PLAN, NO_PLAN, replying("Hello"))]
    engine = await new_engine(*services)
    for instance in engine.pool.instances[:2]:
        instance.login.held = Held(7, 1, "")
    assert (await chat(engine, request("Hi"))).text == "Hello"
    assert (asked(*services), pauses(engine.pool)) == ([1, 0, 1], ["no_plan", "no_plan", ""])


async def test_single_login_answers_each_turn_itself(new_service, new_engine):
    service = await new_service(once(NO_PLAN, once(NO_PLAN, replying("again"))))
    engine = await new_engine(service)
    await refused(engine)
    await refused(engine)
    assert pauses(engine.pool) == [""]
    assert (await chat(engine, request("Hi"))).text == "again"


async def test_logins_without_plan_hold_nobody_up(new_service, new_engine):
    services = [await new_service(NO_PLAN) for _ in range(3)]
    engine = await new_engine(*services, queue_timeout=3600.0)
    for _ in range(8):
        await refused(engine)
    # The first turn has asked all, others mostly the one that is left.
    assert sum(asked(*services)) < 8 * 3
    readings = [Reading(engine, request("Hi")) for _ in range(20)]
    ends = await asyncio.gather(*[each.to_end() for each in readings], return_exceptions=True)
    assert {type(each) for each in ends} == {NoPlan}


async def test_turn_waits_for_a_login_that_comes_back(new_service, new_engine):
    without, good = await new_service(NO_PLAN), await new_service(replying("Hello"))
    engine = await new_engine(without, good, queue_timeout=60.0)
    engine.pool.upkeep.obey({"w1-i2": Order(cool_until=time.time() + 3)})
    done = await chat(engine, request("Hi"))
    assert (done.text, done.record.instance) == ("Hello", "w1-i2")


async def test_last_login_is_asked_as_others_leave(new_service, new_engine):
    engine = await new_engine(await new_service(NO_PLAN), await new_service(replying("Hello")))
    await chat(engine, request("Hi"))
    assert pauses(engine.pool) == ["no_plan", ""]
    engine.pool.upkeep.obey({"w1-i2": Order(mode=Mode.DRAIN)})
    await until(engine.pool, lambda: engine.pool.instances[1].state == "draining")
    assert engine.pool.instances[0].state == "ready"
    await refused(engine)
    assert [each.why for each in engine.pool.instances[0].timeline.pending()][-1] == "alone"
