import asyncio

import pytest

from accounts.keys import Caller
from accounts.limits import UNLIMITED, LimitExceeded, Limits, may_use, names
from accounts.redis_link import RedisLink


def caller(**limits):
    return Caller(1, "alice", "lgw_alice", **limits)


@pytest.fixture(params=["redis", "alone"])
async def limits(request, link, tmp_path):
    """The door as it is, and as it is while Redis is away."""
    if request.param == "redis":
        yield Limits(link)
        return
    away = RedisLink(f"unix://{tmp_path / 'nobody.sock'}")
    yield Limits(away)
    await away.close()


async def refused(limits, who, request_id="next"):
    with pytest.raises(LimitExceeded) as refusal:
        await limits.admit(who, request_id)
    return refusal.value


async def test_a_key_without_limits_costs_nothing(tmp_path):
    assert await Limits(RedisLink(f"unix://{tmp_path}/nobody")).admit(caller(), "r") is UNLIMITED


async def test_requests_per_minute_are_counted(limits):
    who = caller(rpm=3)
    for number in range(3):
        await (await limits.admit(who, f"r{number}")).release()
    refusal = await refused(limits, who)
    assert (refusal.limit, refusal.allowed, refusal.scope) == ("rpm", 3, "key")
    assert 55 <= refusal.retry_after <= 60


async def test_of_many_at_once_only_so_many_are_admitted(limits):
    who = caller(rpm=5)
    outcomes = await asyncio.gather(*(limits.admit(who, f"r{n}") for n in range(50)), return_exceptions=True)
    assert sum(isinstance(outcome, LimitExceeded) for outcome in outcomes) == 45


async def test_tokens_are_settled_when_the_turn_has_ended(limits):
    who = caller(tpm=100)
    await (await limits.admit(who, "r1")).release(tokens=60)
    await (await limits.admit(who, "r2")).release(tokens=60)
    refusal = await refused(limits, who)
    assert (refusal.limit, refusal.allowed) == ("tpm", 100)
    assert 50 <= refusal.retry_after <= 60


async def test_a_place_is_free_again_when_the_turn_has_ended(limits):
    who = caller(concurrency=2)
    first, _ = await limits.admit(who, "r1"), await limits.admit(who, "r2")
    assert (await refused(limits, who)).limit == "concurrency"
    await first.release()
    await first.release()
    await limits.admit(who, "r3")
    assert (await refused(limits, who)).retry_after == 1


async def test_a_refused_request_uses_nothing_up(limits):
    who = caller(concurrency=1, rpm=2)
    ticket = await limits.admit(who, "r1")
    for _ in range(5):
        assert (await refused(limits, who)).limit == "concurrency"
    await ticket.release()
    await limits.admit(who, "r2")


async def test_processes_count_together(link):
    who = caller(rpm=2)
    await Limits(link).admit(who, "r1")
    await Limits(link).admit(who, "r2")
    assert (await refused(Limits(link), who)).limit == "rpm"


async def test_keys_do_not_count_together(limits):
    await limits.admit(Caller(1, "alice", "", rpm=1), "r1")
    assert await limits.admit(Caller(2, "bob", "", rpm=1), "r2")


async def test_the_place_of_a_killed_process_becomes_free(link):
    who = caller(concurrency=1)
    await Limits(link).admit(who, "killed")
    await link.execute("ZADD", names(1)[2], 1, "killed")  # its lease was not renewed
    assert await Limits(link).admit(who, "r2")


async def test_a_long_turn_keeps_its_place(link, monkeypatch):
    monkeypatch.setattr("accounts.limits.RENEW", 0.02)
    await Limits(link).admit(caller(concurrency=1), "long")
    await link.execute("ZADD", names(1)[2], 1, "long")
    async with asyncio.timeout(5):
        while float(await link.execute("ZSCORE", names(1)[2], "long")) == 1:
            await asyncio.sleep(0.01)
    assert (await refused(Limits(link), caller(concurrency=1))).limit == "concurrency"


async def test_what_is_counted_leaves_redis_by_itself(link):
    ticket = await Limits(link).admit(caller(rpm=9, tpm=9, concurrency=9), "r1")
    requests, tokens, turns = names(1)
    assert 0 < await link.execute("TTL", requests) <= 60
    assert 0 < await link.execute("TTL", turns) <= 120
    await ticket.release(5)
    assert 0 < await link.execute("TTL", tokens) <= 65
    assert await link.execute("EXISTS", turns) == 0


async def test_a_refusal_says_what_the_limit_stands_at(limits):
    for who, tokens in ((caller(rpm=1), 0), (caller(tpm=10), 12), (caller(concurrency=1), 0)):
        ticket = await limits.admit(who, f"first {who}")
        if tokens:
            await ticket.release(tokens)
        assert (await refused(limits, who)).value == (tokens or 1)
        await ticket.release()


async def test_a_request_given_up_while_it_is_counted_leaves_no_place_taken(link):
    door = Limits(link)
    await (await door.admit(caller(concurrency=1), "the server knows the script now")).release()
    task = asyncio.create_task(door.admit(caller(concurrency=1), "given up"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    async with asyncio.timeout(5):
        while await link.execute("EXISTS", names(1)[2]):
            await asyncio.sleep(0.01)
    assert await door.admit(caller(concurrency=1), "next")


@pytest.mark.parametrize(("models", "allowed"), [(None, True), (frozenset({"a"}), True), (frozenset({"b"}), False)])
def test_a_list_of_models_is_the_whole_list(models, allowed):
    assert may_use(caller(models=models), "a") is allowed
