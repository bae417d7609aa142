import asyncio
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from accounts.keys.keyring import Caller
from accounts.keys.limit_set import LimitSet
from accounts.limits.admission import LimitExceeded, Limits, may_use
from accounts.limits.admitted import UNLIMITED
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_link import RedisLink, RedisUnavailable
from tests.accounts.conftest import until

pytestmark = pytest.mark.usefixtures("patience")

NOON = datetime(2026, 11, 11, 12, tzinfo=UTC).timestamp()


def caller(key_id=1, **limits):
    return Caller(key_id, "alice", "lgw_alice", limits=(LimitSet.of("key", key_id, **limits),) if limits else ())


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
        (await limits.admit(who, f"r{number}")).release()
    refusal = await refused(limits, who)
    assert (refusal.state.name, refusal.state.limit, refusal.state.scope) == ("rpm", 3, "key")
    assert 55 <= refusal.retry_after <= 60


async def test_admissions_at_once_are_bounded(limits):
    who = caller(rpm=5)
    outcomes = await asyncio.gather(*(limits.admit(who, f"r{n}") for n in range(50)), return_exceptions=True)
    assert sum(isinstance(outcome, LimitExceeded) for outcome in outcomes) == 45


async def test_tokens_are_settled_when_the_turn_has_ended(limits):
    who = caller(tpm=100)
    for request_id in ("r1", "r2"):
        (await limits.admit(who, request_id)).release(tokens=60)
        await limits.settled()
    refusal = await refused(limits, who)
    assert (refusal.state.name, refusal.state.limit) == ("tpm", 100)
    assert 50 <= refusal.retry_after <= 60


async def test_place_is_free_after_the_turn(limits):
    who = caller(concurrency=2)
    first, _ = await limits.admit(who, "r1"), await limits.admit(who, "r2")
    assert (await refused(limits, who)).state.name == "concurrency"
    first.release()
    first.release()
    await limits.admit(who, "r3")
    assert (await refused(limits, who)).retry_after == 1


async def test_a_refused_request_uses_nothing_up(limits):
    who = caller(concurrency=1, rpm=2)
    admission = await limits.admit(who, "r1")
    for _ in range(5):
        assert (await refused(limits, who)).state.name == "concurrency"
    admission.release()
    await limits.admit(who, "r2")


async def test_processes_count_together(link):
    who = caller(rpm=2)
    await Limits(link).admit(who, "r1")
    await Limits(link).admit(who, "r2")
    assert (await refused(Limits(link), who)).state.name == "rpm"


async def test_keys_do_not_count_together(limits):
    await limits.admit(caller(rpm=1), "r1")
    assert await limits.admit(Caller(2, "bob", "", limits=(LimitSet.of("key", 2, rpm=1),)), "r2")


async def test_the_place_of_a_killed_process_becomes_free(link):
    who = caller(concurrency=1)
    await Limits(link).admit(who, "killed")
    await link.execute("ZADD", redis_keys.limits("key", 1)[2], 1, "killed")  # its lease was not renewed
    assert await Limits(link).admit(who, "r2")


async def test_a_long_turn_keeps_its_place(link, monkeypatch):
    monkeypatch.setattr("accounts.limits.admission.RENEW", 0.02)
    await Limits(link).admit(caller(concurrency=1), "long")
    await link.execute("ZADD", redis_keys.limits("key", 1)[2], 1, "long")
    async with asyncio.timeout(30):
        while float(await link.execute("ZSCORE", redis_keys.limits("key", 1)[2], "long")) == 1:
            await asyncio.sleep(0.01)
    assert (await refused(Limits(link), caller(concurrency=1))).state.name == "concurrency"


async def test_counters_leave_redis_by_themselves(link):
    admission = await Limits(link).admit(caller(rpm=9, tpm=9, concurrency=9), "r1")
    requests, tokens, turns, reserved = redis_keys.limits("key", 1)
    assert 60 <= await link.execute("TTL", requests) <= 121
    assert 0 < await link.execute("TTL", turns) <= 120
    assert 0 < await link.execute("TTL", reserved) <= 120
    admission.release(5)
    assert 0 < await link.execute("TTL", tokens) <= 65
    assert await link.execute("EXISTS", turns, reserved) == 0


async def test_counts_live_while_turns_overlap(link):
    limits, who = Limits(link), caller(rpm=99, tpm=9999, concurrency=9, requests_day=99)
    kept = redis_keys.limits("key", 1)
    running = await limits.admit(who, "first", 1, 1)
    for number in range(5):
        admission = await limits.admit(who, f"r{number}", 1, 1)
        running.release(5)
        running = admission
        await limits.settled()
        ttls = [await link.execute("TTL", each) for each in kept]
        assert all(ttl > 30 for ttl in ttls)


async def test_counts_that_were_lost_end_again(link):
    limits, who = Limits(link), caller(rpm=99, tpm=9999, concurrency=9, requests_day=99)
    running = [await limits.admit(who, "r1", 1, 1)]
    for lost in await link.execute("KEYS", f"{redis_keys.LIMIT}*"):
        await link.execute("DEL", lost)
        running.append(await limits.admit(who, f"without {lost}", 1, 1))
        for each in await link.execute("KEYS", f"{redis_keys.LIMIT}*"):
            assert await link.execute("TTL", each) > 5


async def test_refusal_has_the_state_of_its_limit(limits):
    for who, tokens in ((caller(rpm=1), 0), (caller(tpm=10), 12), (caller(concurrency=1), 0)):
        admission = await limits.admit(who, f"first {who}")
        if tokens:
            admission.release(tokens)
        assert (await refused(limits, who)).state.used == (tokens or 1)
        admission.release()


async def test_concurrent_requests_respect_the_token_limit(limits):
    who = caller(tpm=1000)
    outcomes = await asyncio.gather(*(limits.admit(who, f"r{n}", 100, 100) for n in range(64)), return_exceptions=True)
    admitted = [each for each in outcomes if not isinstance(each, LimitExceeded)]
    assert len(admitted) == 5
    assert {each.state.used for each in outcomes if isinstance(each, LimitExceeded)} == {1000}
    for each in admitted:
        each.release(tokens=150)
    assert await limits.admit(who, "next", 100, 100)


async def test_answer_size_is_learnt_from_earlier_ones(limits):
    who = caller(tpm=1000)
    for number in range(3):
        (await limits.admit(who, f"r{number}", 10)).release(tokens=20)
    outcomes = await asyncio.gather(*(limits.admit(who, f"s{n}", 10) for n in range(99)), return_exceptions=True)
    assert sum(not isinstance(each, LimitExceeded) for each in outcomes) == 47


async def test_unanswered_questions_tell_nothing_of_answers(limits):
    who = caller(tpm=1000)
    for number in range(30):
        (await limits.admit(who, f"r{number}", 10)).release(tokens=10)
    outcomes = await asyncio.gather(*(limits.admit(who, f"s{n}", 10) for n in range(9)), return_exceptions=True)
    assert sum(not isinstance(each, LimitExceeded) for each in outcomes) == 2


async def test_oversized_request_takes_the_whole_limit_alone(limits):
    who = caller(tpm=100)
    admission = await limits.admit(who, "large", 5000)
    assert (await refused(limits, who)).state.name == "tpm"
    admission.release(5000)
    assert (await refused(limits, who)).retry_after > 50


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["tpm", "tokens_day", "tokens_month"])
async def test_reserved_tokens_refuse_for_a_moment(limits, name):
    who = caller(**{name: 600})
    (await limits.admit(who, "r1", 10, at=NOON)).release(tokens=100)
    await limits.settled()
    running = await limits.admit(who, "r2", 450, 50, at=NOON)
    with pytest.raises(LimitExceeded) as refusal:
        await limits.admit(who, "r3", 450, 50, at=NOON)
    state = refusal.value.state
    assert (state.name, state.spent, state.reserved, state.used) == (name, 100, 500, 600)
    assert refusal.value.retry_after == 1
    running.release(tokens=10)
    await limits.settled()
    await limits.admit(who, "r3", 450, 50, at=NOON)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["tpm", "tokens_day"])
async def test_used_tokens_refuse_beside_reserved_ones(limits, name):
    """What is spent stays so when the running turn gives back what it holds."""
    who = caller(**{name: 600})
    first, running = [await limits.admit(who, each, 100, 50, at=NOON) for each in ("r1", "r2")]
    first.release(tokens=600)
    await limits.settled()
    with pytest.raises(LimitExceeded) as refusal:
        await limits.admit(who, "r3", at=NOON)
    assert (refusal.value.state.spent, refusal.value.state.reserved) == (600, 150)
    assert refusal.value.retry_after > 30
    running.release()


async def test_reservations_of_killed_process_are_released(link):
    await Limits(link).admit(caller(tpm=100), "killed", 100)
    assert (await refused(Limits(link), caller(tpm=100))).retry_after == 1
    await link.execute("ZADD", redis_keys.limits("key", 1)[2], 1, "killed")  # its lease was not renewed
    assert await Limits(link).admit(caller(tpm=100), "next", 100)
    assert await link.execute("HKEYS", redis_keys.limits("key", 1)[3]) == [b"next"]


async def test_a_lease_is_short(link):
    await Limits(link).admit(caller(concurrency=1), "r")
    seconds, micros = map(int, await link.execute("TIME"))
    assert float(await link.execute("ZSCORE", redis_keys.limits("key", 1)[2], "r")) - seconds - micros / 1e6 <= 6


async def test_counts_from_the_future_do_not_count(link):
    """As after a clock that ran ahead was set right."""
    who, hour = caller(rpm=1, tpm=100, concurrency=1), int((await link.execute("TIME"))[0]) + 3600
    requests, tokens, turns, reserved = redis_keys.limits("key", 1)
    await link.execute("ZADD", requests, hour, "old")
    await link.execute("ZADD", turns, hour, "old")
    await link.execute("HSET", tokens, hour, 100)
    await link.execute("HSET", reserved, "old", 100)
    assert await Limits(link).admit(who, "new", 100)


@pytest.fixture
async def doors(own_redis, monkeypatch):
    """A Redis of its own, and the door of a process that uses it."""
    monkeypatch.setattr("accounts.limits.admission.RENEW", 0.02)
    link, look = (RedisLink(own_redis.url, timeout=5, retry_after=0.05) for _ in range(2))
    yield own_redis, Limits(link), look
    await link.close()
    await look.close()


async def holds(look, key, count, within=45):
    """Wait until Redis is there and says that so many are in the key."""
    async with asyncio.timeout(within):
        while True:
            with suppress(RedisUnavailable):
                if await look.execute("ZCARD", key) == count:
                    return
            await asyncio.sleep(0.01)


async def test_turn_ended_during_outage_is_settled_once(doors):
    redis, limits, look = doors
    admission = await limits.admit(caller(concurrency=1, tpm=1000), "r")
    redis.freeze()
    admission.release(tokens=77)
    redis.thaw()
    await holds(look, redis_keys.limits("key", 1)[2], 0)
    await until(lambda: not limits.unsettled_count)
    assert await look.execute("HVALS", redis_keys.limits("key", 1)[1]) == [b"77"]


async def test_tokens_unknown_to_redis_count_when_it_returns(doors):
    redis, limits, look = doors
    redis.kill()
    admission = await limits.admit(caller(tpm=1000), "without")
    admission.release(tokens=77)
    admission.release(tokens=77)
    redis.start()
    await until(lambda: not limits.unsettled_count)
    async with asyncio.timeout(30):
        while True:
            with suppress(RedisUnavailable):
                assert await look.execute("HVALS", redis_keys.limits("key", 1)[1]) == [b"77"]
                break
            await asyncio.sleep(0.01)


async def test_emptied_redis_relearns_running_turns(doors):
    _, limits, look = doors
    await limits.admit(caller(concurrency=1), "r")
    await look.execute("FLUSHALL")
    await holds(look, redis_keys.limits("key", 1)[2], 1)
    assert (await refused(limits, caller(concurrency=1))).state.name == "concurrency"


async def test_turns_count_across_an_outage(doors):
    redis, limits, look = doors
    who = caller(concurrency=2)
    first = await limits.admit(who, "with")
    redis.kill()
    await limits.admit(who, "without")
    assert (await refused(limits, who)).state.name == "concurrency"
    redis.start()
    await holds(look, redis_keys.limits("key", 1)[2], 2)
    first.release()
    await holds(look, redis_keys.limits("key", 1)[2], 1)


async def test_abandoned_admission_leaves_no_place_taken(link):
    door = Limits(link)
    (await door.admit(caller(concurrency=1), "the server knows the script now")).release()
    task = asyncio.create_task(door.admit(caller(concurrency=1), "given up"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    async with asyncio.timeout(30):
        while await link.execute("EXISTS", redis_keys.limits("key", 1)[2]):
            await asyncio.sleep(0.01)
    assert await door.admit(caller(concurrency=1), "next")


@pytest.mark.parametrize(("models", "allowed"), [(None, True), (frozenset({"a"}), True), (frozenset({"b"}), False)])
def test_a_list_of_models_is_the_whole_list(models, allowed):
    assert may_use(Caller(1, "alice", "", models=models), "a") is allowed


async def test_forgotten_scripts_are_loaded_again(link):
    limits, who = Limits(link), caller(rpm=9, concurrency=9)
    for number in range(2):
        await link.execute("SCRIPT", "FLUSH")
        admission = await limits.admit(who, f"r{number}")
        await link.execute("SCRIPT", "FLUSH")
        admission.release()
        await limits.settled()
    assert [state.used for state in (await limits.look(who)).states()] == [2, 0]
