"""Prompts in doubt, shared by one web process with the others."""

import pytest
import redis

from bridge.fleet.crash_exchange import RETEST_SEC, CrashExchange, RedisRetestLocks
from bridge.pool.crashes import LIFETIME_SEC, MOST, Crashes, CrashRecord
from gateway_project.lib.redis.redis_keys import CRASHES, RETEST
from gateway_project.lib.redis.redis_link import RedisLink


def exits(crashes, name, *, alone, now):
    """Another exit each time."""
    exits.count += 1
    return crashes.exited(name, f"w1-i1:{exits.count}", alone=alone, weighs=alone, now=now)


exits.count = 0


@pytest.fixture
async def link(redis_server):
    with redis.Redis.from_url(redis_server) as client:
        client.flushdb()
    link = RedisLink(redis_server, timeout=30)
    yield link
    await link.close()


@pytest.fixture
def clock(monkeypatch):
    def at(seconds):
        monkeypatch.setattr("bridge.fleet.crash_exchange.time.time", lambda: seconds)

    at(1000)
    return at


async def test_crashes_of_one_process_reach_the_others(link, clock):
    here, there = Crashes(), Crashes()
    exits(here, "1:x", alone=True, now=1000)
    exits(here, "1:x", alone=True, now=1000)
    exits(here, "2:y", alone=False, now=1000)
    for crashes in (here, there):
        await CrashExchange(link, crashes).exchange()
    assert there.records == here.records
    shared = {
        name: (record.exits, record.proven, record.at, bool(record.blamed)) for name, record in here.records.items()
    }
    assert shared == {"1:x": (2, True, 1000, True), "2:y": (1, False, 1000, False)}
    assert here.unsent == {}


async def test_proof_of_harmlessness_reaches_the_others(link, clock):
    here, there = Crashes(), Crashes()
    exits(here, "1:x", alone=True, now=1000)
    for crashes in (here, there):
        await CrashExchange(link, crashes).exchange()
    there.answered("1:x")
    for crashes in (there, here):
        await CrashExchange(link, crashes).exchange()
    assert here.records == {}


async def test_crashes_old_or_too_many_are_dropped(link, clock):
    crashes = Crashes()
    exits(crashes, "1:old", alone=True, now=0)
    for number in range(MOST):
        exits(crashes, f"1:{number}", alone=True, now=900 + number / 1000)
        await CrashExchange(link, crashes).exchange()
    exits(crashes, "1:last", alone=True, now=1000)
    await CrashExchange(link, crashes).exchange()
    assert (len(crashes.records), "1:0" in crashes.records, "1:last" in crashes.records) == (MOST, False, True)
    clock(1001 + LIFETIME_SEC)
    await CrashExchange(link, crashes).exchange()
    assert crashes.records == {}
    assert await link.execute("EXISTS", CRASHES) == 0


async def test_exits_before_a_clock_step_are_dropped(link, clock):
    crashes = Crashes()
    clock(1000 + 86_400)
    exits(crashes, "1:x", alone=True, now=1000 + 86_400)
    await CrashExchange(link, crashes).exchange()
    assert "1:x" in crashes.records
    clock(1000)
    await CrashExchange(link, crashes).exchange()
    assert crashes.records == {}


async def test_process_knows_its_own_crashes_without_redis(link, clock):
    crashes = Crashes()
    record = exits(crashes, "1:x", alone=True, now=1000)
    await link.execute("SET", CRASHES, "something else")
    exchange = CrashExchange(link, crashes)
    with pytest.raises(redis.ResponseError):
        await exchange.exchange()
    assert (crashes.records, crashes.unsent) == ({"1:x": record},) * 2


async def test_flood_of_one_key_spares_anothers_records(link, clock):
    mine, theirs = Crashes(), Crashes()
    exits(mine, "1:old", alone=False, now=900)
    await CrashExchange(link, mine).exchange()
    for part in range(3):
        for number in range(MOST):
            exits(theirs, f"2:{part}-{number}", alone=False, now=950 + part)
        await CrashExchange(link, theirs).exchange()
    assert (len(theirs.records), "1:old" in theirs.records) == (MOST, True)


async def test_record_of_another_version_is_passed_over(link, clock):
    crashes = Crashes()
    await link.execute("HSET", CRASHES, "1:theirs", "[2, true, 999, true]", "1:short", "[2, true, 999]")
    mine = exits(crashes, "1:mine", alone=True, now=1000)
    await CrashExchange(link, crashes).exchange()
    assert crashes.records == {"1:short": CrashRecord(2, True, 999), "1:mine": mine}


async def test_exits_seen_at_once_are_added_up(link, clock):
    here, there = Crashes(), Crashes()
    for crashes in (here, there):
        exits(crashes, "1:x", alone=False, now=1000)
    here_seen, there_seen = (crashes.records["1:x"].seen for crashes in (here, there))
    for crashes in (here, there, here):
        await CrashExchange(link, crashes).exchange()
    assert here.records == there.records
    assert (here.records["1:x"].exits, here.records["1:x"].seen) == (2, here_seen + there_seen)


async def test_one_process_at_a_time_retests(link, clock):
    here, there = (RedisRetestLocks(link, CrashExchange(link, Crashes())) for _ in range(2))
    assert [await each.begin("1:x", turn) for each, turn in ((here, "a"), (there, "b"))] == [True, False]
    assert 0 < await link.execute("TTL", f"{RETEST}1:x") <= RETEST_SEC
    await here.end("1:x", "a")
    assert await there.begin("1:x", "b")


async def test_retest_locks_without_redis_are_of_one_process(clock):
    link = RedisLink("unix:///nowhere/redis.sock")
    locks = RedisRetestLocks(link, CrashExchange(link, Crashes()))
    assert [await locks.begin("1:x", turn) for turn in "ab"] == [True, False]
    await locks.end("1:x", "a")
    assert await locks.begin("1:x", "b")
    await link.close()
