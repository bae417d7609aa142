"""Budgets by the calendar, limits of key and team together, and limits in shadow mode."""

import asyncio
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from accounts.keys.keyring import Caller
from accounts.keys.limit_set import LimitSet
from accounts.limits.admission import LimitExceeded, Limits
from accounts.limits.counters import shadow_key
from accounts.limits.periods import periods_at
from gateway_project.lib.redis import redis_keys

pytestmark = pytest.mark.usefixtures("patience")

SHANGHAI = ZoneInfo("Asia/Shanghai")


def moment(*when, zone=SHANGHAI):
    return datetime(*when, tzinfo=zone).timestamp()


def caller(key=None, team=None, key_id=1):
    """A key with limits, its team with others."""
    sets = [LimitSet.of("key", key_id, **key)] if key else []
    sets += [LimitSet.of("team", 9, **team)] if team else []
    return Caller(key_id, "alice", "lgw_alice", team_id=9, limits=tuple(sets))


async def outcome(limits, who, request_id, **more):
    """The state of the limit that refuses, None if it is admitted."""
    try:
        await limits.admit(who, request_id, **more)
    except LimitExceeded as exc:
        return exc
    return None


@pytest.mark.parametrize(
    ("zone", "at", "day", "week", "month"),
    [
        ("Asia/Shanghai", (2026, 11, 28, 23, 59), (2026, 11, 28), (2026, 11, 23), (2026, 11, 1)),
        ("Asia/Kolkata", (2026, 12, 1, 0, 0), (2026, 12, 1), (2026, 11, 30), (2026, 12, 1)),
        ("America/New_York", (2026, 11, 1, 12, 0), (2026, 11, 1), (2026, 10, 26), (2026, 11, 1)),
        ("UTC", (2026, 12, 31, 23, 0), (2026, 12, 31), (2026, 12, 28), (2026, 12, 1)),
    ],
)
def test_periods_begin_at_midnight_of_their_zone(zone, at, day, week, month):
    where = ZoneInfo(zone)
    starts, ends = periods_at(moment(*at, zone=where), zone)
    assert starts == tuple(moment(*each, zone=where) for each in (day, week, month))
    assert [datetime.fromtimestamp(end, where).hour for end in ends] == [0, 0, 0]


def test_day_of_clock_change_has_25_hours():
    starts, ends = periods_at(moment(2026, 11, 1, 12, zone=ZoneInfo("America/New_York")), "America/New_York")
    assert ends[0] - starts[0] == 25 * 3600


async def test_budget_is_free_after_midnight_there(link):
    limits, who = Limits(link), caller({"requests_day": 2, "time_zone": "Asia/Shanghai"})
    evening = moment(2026, 11, 28, 23, 59, 30)
    assert not await outcome(limits, who, "r1", at=evening)
    assert not await outcome(limits, who, "r2", at=evening + 29)
    refusal = await outcome(limits, who, "r3", at=evening + 29)
    assert (refusal.state.name, refusal.state.used, refusal.retry_after) == ("requests_day", 2, 1)
    assert refusal.state.resets_at == moment(2026, 11, 29)
    assert not await outcome(limits, who, "r4", at=evening + 30)
    assert (await limits.look(who)).states()[0].name == "requests_day"


async def test_tokens_belong_to_the_day_their_turn_began(link):
    limits, who = Limits(link), caller({"tokens_day": 100, "time_zone": "Asia/Shanghai"})
    evening = moment(2026, 11, 28, 23, 59, 59)
    turn = await limits.admit(who, "r1", at=evening)
    turn.release(tokens=500)
    await limits.settled()
    refusal = await outcome(limits, who, "r2", at=evening)
    assert (refusal.state.name, refusal.state.used) == ("tokens_day", 500)
    assert not await outcome(limits, who, "r3", at=evening + 2)


@pytest.mark.parametrize("period", ["day", "week", "month"])
async def test_each_budget_refuses_when_it_is_used_up(link, period):
    limits, at = Limits(link), moment(2026, 11, 11, 12)
    for name, who in (("requests", caller({f"requests_{period}": 1})), ("tokens", caller({f"tokens_{period}": 10}))):
        (await limits.admit(who, f"{name} 1", at=at)).release(tokens=10)
        await limits.settled()
        refusal = await outcome(limits, who, f"{name} 2", at=at)
        assert refusal.state.name == f"{name}_{period}"
        assert refusal.retry_after == refusal.state.resets_at - at
        await link.execute("FLUSHALL")


async def test_keys_of_a_team_share_its_limit(link):
    limits = Limits(link)
    alice, bob = caller({"rpm": 5}, {"rpm": 3}), caller(None, {"rpm": 3}, key_id=2)
    for number in range(2):
        assert not await outcome(limits, alice, f"a{number}")
    assert not await outcome(limits, bob, "b")
    refusal = await outcome(limits, alice, "a3")
    assert (refusal.state.scope, refusal.state.limit, refusal.state.used) == ("team", 3, 3)
    key, team = refusal.seen.states()
    assert (key.used, team.used) == (2, 3), "a refused request is counted nowhere"


async def test_the_limit_that_lasts_longest_is_named(link):
    limits, who, at = Limits(link), caller({"rpm": 1}, {"requests_month": 1}), moment(2026, 11, 11, 12)
    assert not await outcome(limits, who, "r1", at=at)
    refusal = await outcome(limits, who, "r2", at=at)
    assert (refusal.state.name, refusal.state.scope) == ("requests_month", "team")


async def test_budget_is_exact_for_many_at_once(link):
    who = caller({"requests_day": 20}, {"tokens_day": 1_000_000})
    doors = [Limits(link) for _ in range(4)]
    outcomes = await asyncio.gather(*(outcome(doors[n % 4], who, f"r{n}") for n in range(100)))
    assert sum(each is None for each in outcomes) == 20


async def test_requests_that_count_tokens_use_no_budget(link):
    limits, who = Limits(link), caller({"rpm": 3, "requests_day": 1, "concurrency": 1})
    for number in range(3):
        await limits.admit(who, f"count {number}", turn=False)
    refusal = await outcome(limits, who, "count", turn=False)
    assert refusal.state.name == "rpm"
    assert [state.used for state in refusal.seen.states()] == [3, 0, 0]


async def test_shadow_limit_refuses_nobody_and_is_counted(link):
    limits, at = Limits(link), moment(2026, 11, 11, 12)
    who = caller({"rpm": 2, "requests_day": 1, "shadow": ["rpm", "requests_day"]}, {"tpm": 100})
    for number in range(5):
        (await limits.admit(who, f"r{number}", at=at)).release()
    counts = await link.execute("HGETALL", shadow_key(at))
    assert dict(zip(counts[::2], counts[1::2], strict=True)) == {b"1": b"4", b"1:k:1": b"3", b"1:k:4": b"4"}
    rpm, day, _ = (await limits.look(who)).states()
    assert (rpm.used, rpm.shadow, rpm.remaining) == (5, True, 0)
    assert day.shadow


async def test_nearest_limit_is_an_enforced_one(link):
    limits = Limits(link)
    who = caller({"rpm": 10, "requests_day": 5}, {"requests_month": 2, "shadow": ["requests_month"]})
    seen = (await limits.admit(who, "r")).seen
    limit, left, resets_at = seen.nearest((0, 3, 4, 5))
    assert (limit, left) == (5, 4)
    assert resets_at > seen.at + 60 or resets_at == seen.counters[0].ends[0], "the day's"
    assert seen.nearest((1, 6, 7, 8)) is None


async def test_late_tokens_are_settled_by_the_difference(link):
    limits, who = Limits(link), caller({"tpm": 1000, "tokens_day": 1000}, {"tokens_month": 5000})
    turn = await limits.admit(who, "r1")
    turn.release(tokens=300)
    await turn.amend(-100)
    assert {(each.name, each.used) for each in (await limits.look(who)).states()} == {
        ("tpm", 200), ("tokens_day", 200), ("tokens_month", 200),
    }  # fmt: skip
    await turn.amend(50)
    assert {each.used for each in (await limits.look(who)).states()} == {250}


async def test_late_tokens_leave_a_later_minute_alone(link):
    limits, who = Limits(link), caller({"tpm": 1000, "tokens_day": 1000})
    turn = await limits.admit(who, "r1")
    turn.release(tokens=300)
    await link.execute("DEL", redis_keys.limits("key", 1)[1])  # as after a minute
    await turn.amend(-300)
    assert {each.name: each.used for each in (await limits.look(who)).states()} == {"tpm": 0, "tokens_day": 0}


async def test_late_tokens_neither_admit_nor_end_anything(link):
    limits, who = Limits(link), caller({"rpm": 9, "concurrency": 2, "tokens_day": 1000, "requests_day": 9})
    turn, running = await limits.admit(who, "r1"), await limits.admit(who, "r2")
    turn.release(tokens=300)
    await turn.amend(100)
    # What the running turn has reserved counts as well.
    used = {each.name: each.used for each in (await limits.look(who)).states()}
    assert (used["rpm"], used["concurrency"], used["requests_day"]) == (2, 1, 2)
    running.release(tokens=1)
    assert {each.name: each.used for each in (await limits.look(who)).states()}["tokens_day"] == 401
