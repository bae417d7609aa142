"""One prompt that the service exits over costs two instances, however many ask it at once, and wherever."""

import asyncio
from contextlib import AsyncExitStack, suppress

import pytest
import redis

from bridge.chat.errors import CrashingPrompt
from bridge.fleet.crash_exchange import CrashExchange, RedisRetestLocks
from bridge.images.pipeline import ImageOptions, ImagePipeline
from bridge.pool import careful
from bridge.pool.crashes import Crashes, LocalRetestLocks
from bridge.pool.instances import lifecycle, runs
from bridge.turn import retest
from bridge.turn.engine import Engine, EngineOptions
from gateway_project.lib.redis.redis_keys import RETEST
from gateway_project.lib.redis.redis_link import RedisLink
from tests.bridge.chats import Reading, chat, request
from tests.bridge.pools import running, simulator

POISON = "[[sim: fault=crash after=0 first_ms={first_ms}]] poison"
# In one piece: a reply of which a part is out cannot be asked again.
INNOCENT = "[[sim: text=fine size=9 delay_ms=0 first_ms=1000]] innocent {number}"
SLOW = INNOCENT.replace("first_ms=1000", "first_ms=3000")


@pytest.fixture
async def gateway(tmp_path, redis_server, monkeypatch):
    """Web processes of one gateway, each with its own instances."""
    # On a loaded machine a program that exits may take seconds for it, and is taken to go on by then.
    monkeypatch.setattr(runs, "SETTLE_SEC", 30.0)
    with redis.Redis.from_url(redis_server) as client:
        client.flushdb()
    async with AsyncExitStack() as stack:
        engines = []

        async def gateway(processes, instances):
            for process in range(1, processes + 1):
                dirs = [tmp_path / f"{process}-{number}" for number in range(instances)]
                pool = await stack.enter_async_context(
                    running([simulator(each, "--login=auto", "--first-ms=0") for each in dirs], process=process)
                )
                ids = (f"{process}-{number}" for number in range(1_000_000))
                engine = Engine(pool, None, ImagePipeline(ImageOptions()), EngineOptions(), ids.__next__)
                link = RedisLink(redis_server, timeout=30)
                exchange = CrashExchange(link, engine.crashes)
                engine.retest_locks = RedisRetestLocks(link, exchange)
                follow = asyncio.create_task(exchange.follow())
                stack.push_async_callback(link.close)
                stack.callback(follow.cancel)
                stack.push_async_callback(engine.wait_for_background)
                engines.append(engine)
            return engines

        yield gateway


async def asked(engine, text, key=1):
    """How it ended."""
    try:
        return (await chat(engine, request(text), key)).record.status
    except CrashingPrompt:
        return "refused"


def exits(engines):
    return sum(instance.incidents.restarts for engine in engines for instance in engine.pool.instances)


async def under_way(engines, turns):
    async with asyncio.timeout(30):
        while sum(engine.pool.in_flight for engine in engines) < turns:
            await asyncio.sleep(0.01)


async def test_lock_outlives_a_long_silence(redis_server, monkeypatch):
    monkeypatch.setattr(retest, "KEEP_SEC", 0.05)
    link = RedisLink(redis_server, timeout=30)
    held = retest.Retest(RedisRetestLocks(link, CrashExchange(link, Crashes())), "1:x", "a")
    assert await held.begin()
    await link.execute("EXPIRE", f"{RETEST}1:x", 5)
    async with asyncio.timeout(30):
        while await link.execute("TTL", f"{RETEST}1:x") <= 5:  # it would lapse
            await asyncio.sleep(0.02)
    await held.end()
    assert await link.execute("EXISTS", f"{RETEST}1:x") == 0
    await link.close()


async def test_lock_of_hung_up_client_is_free(redis_server):
    """It goes while Redis is asked, and nobody knows whether the lock was taken."""
    link = RedisLink(redis_server, timeout=30)
    locks = RedisRetestLocks(link, CrashExchange(link, Crashes()))
    first, second = retest.Retest(locks, "1:y", "a"), retest.Retest(locks, "1:y", "b")
    begins = asyncio.create_task(first.begin())
    await asyncio.sleep(0)
    begins.cancel()
    with suppress(asyncio.CancelledError):
        await begins
    await first.end()
    assert await second.begin()
    await second.end()
    await link.close()


@pytest.mark.parametrize("keys", [1, 3])
@pytest.mark.parametrize(("processes", "instances"), [(1, 1), (1, 3), (2, 2)])
async def test_poison_among_others_costs_two_instances(gateway, processes, instances, keys):
    engines = await gateway(processes, instances)
    async with asyncio.TaskGroup() as tasks:
        innocent = [
            tasks.create_task(asked(engine, INNOCENT.format(number=number), 1 + number % keys))
            for number in range(6)
            for engine in engines
        ]
        await under_way(engines, len(innocent))
        first = tasks.create_task(asked(engines[0], POISON.format(first_ms=0)))
        async with asyncio.timeout(30):
            while not exits(engines):
                await asyncio.sleep(0.01)
        await asyncio.gather(*(engine.retest_locks._exchange.exchange() for engine in engines))
        more = [tasks.create_task(asked(engine, POISON.format(first_ms=0))) for engine in engines for _ in range(4)]
    assert {each.result() for each in innocent} == {"ok"}
    assert {each.result() for each in (first, *more)} == {"refused"}
    assert exits(engines) == 2


async def test_poison_never_alone_is_refused_too(gateway, monkeypatch):
    monkeypatch.setattr(careful, "WINDOW_SEC", 0.05)
    monkeypatch.setattr(lifecycle, "COMING_SEC", 0.0)  # it does not wait for the instance that will be empty
    [engine] = await gateway(1, 2)
    async with asyncio.TaskGroup() as tasks:
        innocent = [tasks.create_task(asked(engine, SLOW.format(number=number))) for number in range(4)]
        await under_way([engine], 4)
        poisoned = tasks.create_task(asked(engine, POISON.format(first_ms=0)))
    assert poisoned.result() == "refused"
    assert [each.result() for each in innocent] == ["ok"] * 4
    assert exits([engine]) == 2


async def test_poison_asked_everywhere_at_once_costs_no_more(gateway):
    engines = await gateway(2, 1)
    poison = POISON.format(first_ms=600)
    async with asyncio.TaskGroup() as tasks:
        poisoned = [tasks.create_task(asked(engine, poison)) for engine in engines for _ in range(2)]
        innocent = [tasks.create_task(asked(engine, INNOCENT.format(number=engine.new_id()))) for engine in engines]
    assert {each.result() for each in poisoned} == {"refused"}
    assert {each.result() for each in innocent} == {"ok"}
    assert exits(engines) == 2


async def test_same_innocent_prompt_waits_and_goes_on(gateway):
    [engine] = await gateway(1, 1)
    async with asyncio.TaskGroup() as tasks:
        turns = [tasks.create_task(asked(engine, INNOCENT.format(number="of several"))) for _ in range(4)]
        await under_way([engine], 4)
        poisoned = tasks.create_task(asked(engine, POISON.format(first_ms=0)))
    assert [each.result() for each in turns] == ["ok"] * 4
    assert poisoned.result() == "refused"


async def test_retest_ends_with_the_client(gateway):
    [engine] = await gateway(1, 1)
    prompt = POISON.format(first_ms=1500)
    first = Reading(engine, request(prompt))
    await under_way([engine], 1)
    await first.hang_up()
    await engine.wait_for_background()
    assert await asked(engine, prompt) == "refused"
    assert exits([engine]) == 2


async def test_local_retests_are_one_at_a_time():
    locks = LocalRetestLocks()
    assert [await locks.begin("1:x", turn) for turn in ("a", "b", "a")] == [True, False, True]
    await locks.end("1:x", "b")
    assert not await locks.begin("1:x", "b")
    await locks.end("1:x", "a")
    assert await locks.begin("1:x", "b")
