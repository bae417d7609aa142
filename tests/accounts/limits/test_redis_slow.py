"""Limits while Redis is slow or away: each process has its share, nobody waits, and it is settled afterwards."""

import asyncio
import time

import pytest

from accounts.limits.admission import LimitExceeded, Limits
from accounts.limits.breaker import TooSlow
from gateway_project.lib import degraded
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_link import RedisLink
from tests.accounts.conftest import until
from tests.accounts.limits.test_budgets import caller, moment, outcome


@pytest.fixture
async def away(tmp_path):
    """A link to nobody."""
    link = RedisLink(f"unix://{tmp_path / 'nobody.sock'}")
    yield link
    await link.close()


@pytest.mark.parametrize(
    ("limits", "admitted"), [({"rpm": 10}, 5), ({"concurrency": 4}, 2), ({"requests_day": 20}, 10), ({"rpm": 1}, 1)]
)
async def test_each_process_has_its_share(away, limits, admitted):
    door, who = Limits(away, processes=lambda: 2), caller(limits)
    outcomes = [await outcome(door, who, f"r{number}") for number in range(30)]
    assert sum(each is None for each in outcomes) == admitted
    assert outcomes[-1].state.limit == admitted


async def test_share_follows_the_number_of_processes(away):
    """A machine that joins while Redis is away takes its part."""
    known = [1]
    door, who = Limits(away, processes=lambda: len(known)), caller({"rpm": 4})
    assert not await outcome(door, who, "r0")
    known.append(2)
    outcomes = [await outcome(door, who, f"r{number}") for number in range(1, 9)]
    assert [each is None for each in outcomes] == [True, *[False] * 7]


async def test_team_counts_without_redis_too(away):
    door = Limits(away)
    assert not await outcome(door, caller(None, {"rpm": 2}, key_id=1), "r1")
    assert not await outcome(door, caller(None, {"rpm": 2}, key_id=2), "r2")
    assert (await outcome(door, caller(None, {"rpm": 2}, key_id=3), "r3")).state.scope == "team"


async def test_shadow_limit_refuses_nobody_without_redis(away):
    door, who = Limits(away), caller({"rpm": 1, "shadow": ["rpm"]})
    assert [await outcome(door, who, f"r{number}") for number in range(5)] == [None] * 5


@pytest.mark.usefixtures("patience")
async def test_used_up_budget_stays_so_without_redis(own_redis):
    link = RedisLink(own_redis.url, timeout=30, retry_after=0.05)
    door, who, at = Limits(link, processes=lambda: 2), caller({"requests_day": 4}), moment(2026, 11, 28, 12)
    for number in range(2):
        (await door.admit(who, f"r{number}", at=at)).release()
    await door.settled()
    own_redis.kill()
    # Of the two that are left this process has one.
    assert not await outcome(door, who, "r2", at=at)
    refusal = await outcome(door, who, "r3", at=at)
    assert (refusal.state.used, refusal.state.limit) == (3, 3)
    await link.close()


async def test_requests_admitted_alone_are_counted_afterwards(own_redis, monkeypatch):
    monkeypatch.setattr("accounts.limits.admission.RENEW", 0.02)
    link = RedisLink(own_redis.url, retry_after=0.05)
    door, who = Limits(link), caller({"rpm": 50, "requests_day": 50, "tokens_day": 1000})
    (await door.admit(who, "with")).release(tokens=10)
    await door.settled()
    own_redis.freeze()
    for number in range(3):
        (await door.admit(who, f"without {number}")).release(tokens=7)
    own_redis.thaw()
    await until(lambda: not door.unsettled_count and link.available)
    await until_quick(door)
    used = {state.name: state.used for state in (await door.look(who)).states()}
    assert used == {"rpm": 4, "requests_day": 4, "tokens_day": 31}
    await link.close()


async def until_quick(door):
    await until(lambda: not door._breaker.is_open)


async def test_frozen_redis_keeps_nobody_waiting(own_redis):
    link = RedisLink(own_redis.url, timeout=60)
    door, who = Limits(link), caller({"rpm": 100})
    await door.admit(who, "first")
    own_redis.freeze()
    started = time.monotonic()
    await asyncio.gather(*(door.admit(who, f"r{number}") for number in range(20)))
    assert time.monotonic() - started < 20, "the link alone waits for a minute"
    assert degraded.is_on("limits")
    with pytest.raises(TooSlow):
        await door._breaker.send(b"")
    own_redis.thaw()
    await until_quick(door)
    assert not degraded.is_on("limits")
    assert (await door.look(who)).states()[0].used >= 1
    await link.close()


async def test_limit_of_one_process_is_whole(away):
    door = Limits(away)
    for number in range(3):
        await door.admit(caller({"rpm": 3}), f"r{number}")
    with pytest.raises(LimitExceeded):
        await door.admit(caller({"rpm": 3}), "r")


async def test_settled_turn_leaves_nothing_behind(link):
    door, who = Limits(link), caller({"concurrency": 2, "requests_day": 5})
    (await door.admit(who, "r")).release(tokens=3)
    async with asyncio.timeout(30):  # at once, unless Redis was too slow to be asked: then when the lease ends
        while await link.execute("EXISTS", *(left := redis_keys.limits("key", 1)[2:])):
            await asyncio.sleep(0.01)
    assert left


class SlowPath:
    """Between a link and Redis; what Redis says arrives so many seconds later."""

    def __init__(self, server, path):
        self.server, self.path, self.delay = server, path, 0.0
        self.copying = set()

    async def __aenter__(self):
        self.listener = await asyncio.start_unix_server(self.serve, self.path)
        return self

    async def __aexit__(self, *_):
        self.listener.close()
        for task in self.copying:
            task.cancel()
        await asyncio.gather(*self.copying, return_exceptions=True)
        await asyncio.sleep(0)  # the transports close their sockets in the next turn of the loop

    async def serve(self, reader, writer):
        from_redis, to_redis = await asyncio.open_unix_connection(self.server)
        both = self.copy(reader, to_redis, lambda: 0), self.copy(from_redis, writer, lambda: self.delay)
        self.copying |= {asyncio.create_task(each) for each in both}

    async def copy(self, reader, writer, delay):
        try:
            while data := await reader.read(65536):
                await asyncio.sleep(delay())
                writer.write(data)
        finally:
            writer.close()


async def test_slow_redis_is_left_alone_until_quick(own_redis, tmp_path):
    async with SlowPath(str(own_redis.directory / "redis.sock"), str(tmp_path / "slow.sock")) as path:
        link = RedisLink(f"unix://{tmp_path / 'slow.sock'}", timeout=10)
        door, who = Limits(link, processes=lambda: 2), caller({"concurrency": 1000})
        assert not await outcome(door, who, "quick")
        path.delay = 0.1
        async with asyncio.timeout(60):
            while not degraded.is_on("limits"):
                await door.admit(who, f"slow {time.monotonic_ns()}")
        started = time.monotonic()
        for number in range(100):
            await door.admit(who, f"alone {number}")
        assert time.monotonic() - started < 10, "each would take 0.1 s"
        path.delay = 0
        await until_quick(door)
        await link.close()


@pytest.fixture
async def slow(own_redis, tmp_path, monkeypatch):
    """Limits of one process that has begun to count alone, as Redis answers late."""
    # It stays so: a machine that is busy could find Redis quick, or slower still, amid a test.
    monkeypatch.setattr("accounts.limits.breaker.PROBE_SEC", 3600)
    async with SlowPath(str(own_redis.directory / "redis.sock"), str(tmp_path / "slow.sock")) as path:
        link = RedisLink(f"unix://{tmp_path / 'slow.sock'}", timeout=60)
        door = Limits(link)
        await link.execute("PING")
        path.delay = 0.1
        async with asyncio.timeout(60):
            while not degraded.is_on("limits"):
                await door.admit(caller({"concurrency": 100_000}, key_id=5), f"slow {time.monotonic_ns()}")
        yield door
        door._breaker._probing.cancel()
        degraded.end("limits")
        await link.close()


@pytest.mark.parametrize("limit", ["tpm", "tokens_day"])
async def test_tokens_count_while_redis_is_slow(slow, limit):
    who = caller({limit: 100}, {limit: 1000})
    turn = await slow.admit(who, "first")
    turn.release(tokens=70)
    turn = await slow.admit(who, "second")
    turn.release(tokens=50)
    refusal = await outcome(slow, who, "third")
    assert (refusal.state.name, refusal.state.used) == (limit, 120)
    await slow.settled()
    assert (await outcome(slow, who, "once settled")).state.used == 120


async def test_turn_that_redis_admitted_counts_alone(slow):
    who = caller({"tpm": 100})
    slow.adopt(who, "lent", at=time.time()).release(tokens=100)
    assert (await outcome(slow, who, "next")).state.used == 100


async def test_settlement_that_fails_is_spent_once(slow, own_redis):
    who = caller({"tpm": 100})
    turn = await slow.admit(who, "first")
    own_redis.freeze()
    turn.release(tokens=100)
    own_redis.kill()
    await until(lambda: not turn.is_ending)
    assert slow.unsettled_count
    assert (await outcome(slow, who, "next")).state.used == 100


async def test_late_usage_counts_alone(slow):
    who = caller({"tpm": 100})
    turn = await slow.admit(who, "first")
    turn.release(tokens=50)
    await turn.amend(60)
    assert (await outcome(slow, who, "next")).state.used == 110
    await turn.amend(-20)
    assert not await outcome(slow, who, "fits")
