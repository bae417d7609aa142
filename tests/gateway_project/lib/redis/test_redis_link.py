import asyncio

import pytest
import redis

from gateway_project.lib import degraded
from gateway_project.lib.redis import redis_pipe
from gateway_project.lib.redis.redis_link import RedisLink, RedisUnavailable, Script
from tests.accounts.conftest import OwnRedis, until
from tests.doors import Door

ADD = Script("return redis.call('INCRBY', KEYS[1], ARGV[1])")


async def test_a_command_gets_its_reply(link):
    assert await link.execute("SET", "name", "通义灵码") == b"OK"
    assert await link.execute("GET", b"name") == "通义灵码".encode()
    assert await link.execute("GET", "nothing") is None
    assert await link.execute("INCRBYFLOAT", "number", 1.5) == b"1.5"


async def test_commands_at_once_get_their_own_replies(link):
    replies = await asyncio.gather(*(link.execute("ECHO", n) for n in range(500)))
    assert replies == [str(n).encode() for n in range(500)]


async def test_a_big_value_survives_being_sliced(link):
    await link.execute("SET", "big", b"x" * 5_000_000)
    assert len(await link.execute("GET", "big")) == 5_000_000


async def test_error_reply_reaches_only_its_caller(link):
    wrong, right = await asyncio.gather(link.execute("NONSENSE"), link.execute("PING"), return_exceptions=True)
    assert isinstance(wrong, redis.ResponseError)
    assert right == b"PONG"


async def test_unknown_script_is_loaded(link):
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


class Written:
    """Takes the answer to a command that nobody waits for."""

    def __init__(self):
        self.answered = asyncio.Event()

    def done(self):
        return self.answered.is_set()

    def set_result(self, result):
        self.answered.set()

    set_exception = set_result


async def test_late_command_goes_along_with_next(link, monkeypatch):
    monkeypatch.setattr(redis_pipe, "LATER_SEC", 60)
    await link.execute("DEL", "late")
    written = Written()
    link.issue_later(written, "SET", "late", "1")
    await asyncio.sleep(0.05)
    assert not written.done()
    assert await link.execute("GET", "late") == b"1"
    assert written.done()


async def test_late_command_goes_alone_in_time(link):
    await link.execute("PING")
    written = Written()
    link.issue_later(written, "SET", "late", "2")
    await asyncio.wait_for(written.answered.wait(), 30)
    assert await link.execute("GET", "late") == b"2"


async def test_late_command_goes_at_once_when_hurried(link, monkeypatch):
    monkeypatch.setattr(redis_pipe, "LATER_SEC", 60)
    await link.execute("PING")
    written = Written()
    link.issue_later(written, "SET", "late", "3")
    link.hurry()
    assert await asyncio.wait_for(written.answered.wait(), 30)


async def test_absent_server_is_refused_then_found(tmp_path):
    link = RedisLink(f"unix://{tmp_path / 'redis.sock'}", retry_after=0.05)
    with pytest.raises(RedisUnavailable):
        await link.execute("PING")
    assert not link.available
    await link.close()


async def test_a_killed_server_fails_fast_and_comes_back(own_redis):
    link = RedisLink(own_redis.url, timeout=30, retry_after=0.05)
    await link.execute("PING")
    own_redis.kill()
    await until(lambda: not link.available)
    with pytest.raises(RedisUnavailable):
        await link.execute("PING")
    own_redis.start()
    await until(lambda: link.available)
    assert await link.execute("PING") == b"PONG"
    await link.close()


async def test_frozen_server_costs_one_wait(own_redis):
    link = RedisLink(own_redis.url, timeout=2, retry_after=0.3)  # on a busy machine an answer takes tenths of a second
    await link.execute("PING")
    own_redis.freeze()
    calls = await asyncio.gather(*(link.execute("PING") for _ in range(20)), return_exceptions=True)
    assert {type(call) for call in calls} == {RedisUnavailable}
    with pytest.raises(RedisUnavailable):
        link.execute("PING")  # refused without waiting
    own_redis.thaw()
    await until(lambda: link.available)
    await link.close()


async def test_an_idle_connection_the_server_closes_is_replaced(link, redis_server):
    first = await link.execute("CLIENT", "ID")
    with redis.Redis.from_url(redis_server) as other:
        other.execute_command("CLIENT", "KILL", "ID", first)
    connection = link._pipe
    await until(lambda: link._pipe is not connection)
    assert await link.execute("CLIENT", "ID") != first


async def test_a_closed_link_refuses(redis_server):
    link = RedisLink(redis_server, timeout=30)
    await link.execute("PING")
    await link.close()
    with pytest.raises(RedisUnavailable):
        await link.execute("PING")


async def test_url_database_and_password_are_used(own_redis):
    with redis.Redis.from_url(own_redis.url) as admin:
        admin.config_set("requirepass", "hush")
    link = RedisLink(f"unix://:hush@{own_redis.directory / 'redis.sock'}?db=3", timeout=30)
    assert b" db=3 " in await link.execute("CLIENT", "INFO")
    await link.close()
    refused = RedisLink(own_redis.url, timeout=30)
    with pytest.raises(RedisUnavailable):
        await refused.execute("PING")
    await refused.close()


def full(own_redis, most=1):
    with redis.Redis.from_url(own_redis.url) as admin:
        admin.config_set("maxmemory", most)


async def test_full_server_reads_but_counts_as_unavailable(own_redis, caplog):
    link = RedisLink(own_redis.url, timeout=30, retry_after=0.05)
    await link.execute("SET", "name", "value")
    full(own_redis)
    for _ in range(50):
        with pytest.raises(RedisUnavailable, match="OOM"):
            await link.execute("SET", "name", "other")
    assert not link.available
    assert [facts.name for facts in degraded.active()] == ["redis"]
    assert await link.execute("GET", "name") == b"value"
    full(own_redis, 0)
    await until(lambda: link.available)
    assert degraded.active() == []
    told_in, told_out = caplog.messages
    assert told_in.startswith("degraded: redis (OOM")
    assert told_out.startswith("well again: redis")
    await link.close()


async def test_server_full_from_the_start_is_read(own_redis):
    full(own_redis)
    link = RedisLink(own_redis.url, timeout=30, retry_after=0.05)
    assert await link.execute("GET", "name") is None
    assert not link.available
    full(own_redis, 0)
    await until(lambda: link.available)
    await link.close()


async def test_full_server_refuses_scripts_like_commands(own_redis):
    link = RedisLink(own_redis.url, timeout=30)
    await link.run(ADD, ["sum"], [2])
    full(own_redis)
    with pytest.raises(RedisUnavailable):
        await link.run(ADD, ["sum"], [2])
    assert not link.available
    await link.close()


async def test_replica_is_left_and_found_again(own_redis):
    link = RedisLink(own_redis.url, timeout=30, retry_after=0.05)
    await link.execute("SET", "name", "value")
    with redis.Redis.from_url(own_redis.url) as admin:
        admin.replicaof("127.0.0.1", "1")
        with pytest.raises(RedisUnavailable, match="READONLY"):
            await link.execute("SET", "name", "other")
        await until(lambda: not link.available)
        with pytest.raises(RedisUnavailable):
            await link.execute("GET", "name")  # what a replica knows may be old
        assert [facts.name for facts in degraded.active()] == ["redis"]
        admin.replicaof("NO", "ONE")
    await until(lambda: link.available)
    assert degraded.active() == []
    await link.close()


async def test_a_node_of_a_cluster_is_never_available(tmp_path):
    server = OwnRedis(tmp_path, "--cluster-enabled", "yes")
    try:
        with redis.Redis.from_url(server.url) as admin:
            admin.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            await until(lambda: admin.cluster("info")["cluster_state"] == "ok")
        link = RedisLink(server.url, timeout=30, retry_after=0.05)
        with pytest.raises(RedisUnavailable):
            await link.execute("SET", "name", "value")
        assert not link.available
        assert "CROSSSLOT" in degraded.active()[0].why
        await link.close()
    finally:
        server.kill()


def test_script_errors_read_alike_in_old_servers():
    said = "ERR Error running script (call to f_0): @user_script:2: @user_script: 2: -OOM command not allowed"
    assert redis_pipe.OF_A_SCRIPT.match(said)[1] == "OOM command not allowed"


async def test_a_connection_that_goes_silent_costs_one_wait(own_redis):
    with Door(str(own_redis.directory / "redis.sock")) as door:
        link = RedisLink(f"redis://127.0.0.1:{door.port}", timeout=2, retry_after=0.05)
        await link.execute("PING")
        door.swallow()
        calls = await asyncio.gather(*(link.execute("PING") for _ in range(20)), return_exceptions=True)
        assert {type(call) for call in calls} == {RedisUnavailable}
        with pytest.raises(RedisUnavailable):
            link.execute("PING")
        door.heal()
        await until(lambda: link.available)
        await link.close()


async def test_closed_idle_connection_is_no_trouble(own_redis, caplog):
    with Door(str(own_redis.directory / "redis.sock")) as door:
        link = RedisLink(f"redis://127.0.0.1:{door.port}", timeout=30)
        await link.execute("PING")
        first = link._pipe
        door.cut()
        await until(lambda: link._pipe is not first and link.available)
        assert caplog.messages == []
        await link.close()
