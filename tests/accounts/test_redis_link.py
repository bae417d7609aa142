import asyncio

import pytest
import redis

from accounts.redis_link import RedisLink, RedisUnavailable, Script
from tests.accounts.conftest import until

ADD = Script("return redis.call('INCRBY', KEYS[1], ARGV[1])")


async def test_a_command_gets_its_reply(link):
    assert await link.execute("SET", "name", "通义灵码") == b"OK"
    assert await link.execute("GET", b"name") == "通义灵码".encode()
    assert await link.execute("GET", "nothing") is None
    assert await link.execute("INCRBYFLOAT", "number", 1.5) == b"1.5"


async def test_many_at_once_each_get_their_own_reply(link):
    replies = await asyncio.gather(*(link.execute("ECHO", n) for n in range(500)))
    assert replies == [str(n).encode() for n in range(500)]


async def test_a_big_value_survives_being_sliced(link):
    await link.execute("SET", "big", b"x" * 5_000_000)
    assert len(await link.execute("GET", "big")) == 5_000_000


async def test_an_error_reply_is_raised_to_its_caller_only(link):
    wrong, right = await asyncio.gather(link.execute("NONSENSE"), link.execute("PING"), return_exceptions=True)
    assert isinstance(wrong, redis.ResponseError)
    assert right == b"PONG"


async def test_a_script_is_loaded_when_the_server_does_not_know_it(link):
    await link.execute("SCRIPT", "FLUSH")
    assert await link.run(ADD, ["sum"], [2]) == 2
    assert await link.run(ADD, ["sum"], [3]) == 5


async def test_a_cancelled_caller_does_not_shift_the_replies(link):
    await link.execute("PING")
    first = link.execute("ECHO", "first")
    second = link.execute("ECHO", "second")
    await asyncio.sleep(0)
    first.cancel()
    assert await second == b"second"


async def test_a_server_that_is_not_there_is_refused_and_then_found(tmp_path):
    link = RedisLink(f"unix://{tmp_path / 'redis.sock'}", retry_after=0.05)
    with pytest.raises(RedisUnavailable):
        await link.execute("PING")
    assert not link.available
    await link.close()


async def test_a_killed_server_fails_fast_and_comes_back(own_redis):
    link = RedisLink(own_redis.url, retry_after=0.05)
    await link.execute("PING")
    own_redis.kill()
    await until(lambda: not link.available)
    with pytest.raises(RedisUnavailable):
        await link.execute("PING")
    own_redis.start()
    await until(lambda: link.available)
    assert await link.execute("PING") == b"PONG"
    await link.close()


async def test_a_frozen_server_costs_one_wait_and_then_nothing(own_redis):
    link = RedisLink(own_redis.url, timeout=0.2, retry_after=0.3)
    await link.execute("PING")
    own_redis.freeze()
    calls = await asyncio.gather(*(link.execute("PING") for _ in range(20)), return_exceptions=True)
    assert {type(call) for call in calls} == {RedisUnavailable}
    with pytest.raises(RedisUnavailable):
        link.execute("PING")  # refused without waiting
    own_redis.thaw()
    await until(lambda: link.available)
    await link.close()


async def test_a_server_that_takes_no_writes_counts_as_unavailable(own_redis):
    link = RedisLink(own_redis.url)
    await link.execute("CONFIG", "SET", "maxmemory", 1)
    with pytest.raises(RedisUnavailable):
        await link.execute("SET", "name", "value")
    assert await link.execute("PING") == b"PONG"
    await link.close()


async def test_an_idle_connection_the_server_closes_is_replaced(link, redis_server):
    first = await link.execute("CLIENT", "ID")
    with redis.Redis.from_url(redis_server) as other:
        other.execute_command("CLIENT", "KILL", "ID", first)
    connection = link._pipe
    await until(lambda: link._pipe is not connection)
    assert await link.execute("CLIENT", "ID") != first


async def test_a_closed_link_refuses(redis_server):
    link = RedisLink(redis_server)
    await link.execute("PING")
    await link.close()
    with pytest.raises(RedisUnavailable):
        await link.execute("PING")


async def test_the_database_and_password_of_the_url_are_used(own_redis):
    with redis.Redis.from_url(own_redis.url) as admin:
        admin.config_set("requirepass", "hush")
    link = RedisLink(f"unix://:hush@{own_redis.directory / 'redis.sock'}?db=3")
    assert b" db=3 " in await link.execute("CLIENT", "INFO")
    await link.close()
    refused = RedisLink(own_redis.url)
    with pytest.raises(RedisUnavailable):
        await refused.execute("PING")
    await refused.close()
