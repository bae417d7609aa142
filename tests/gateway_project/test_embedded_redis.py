"""What happens in the embedded server when it is full."""

import asyncio
import os
import signal
import subprocess

import pytest
import redis

from gateway_project import embedded_redis
from gateway_project.env import Environment
from gateway_project.lib.redis.redis_client import connect
from gateway_project.supervise import programs
from gateway_project.supervise.child import Child
from gateway_project.supervise.output import Output
from tests.gateway_project.served import until


@pytest.fixture
def small(tmp_path):
    """The embedded server with 16 MiB."""
    command = [*embedded_redis.command(tmp_path), "--maxmemory", "16mb"]
    with subprocess.Popen(command) as server, connect(f"unix://{tmp_path}/redis.sock", 10) as client:
        until(lambda: answers(client))
        yield client
        server.kill()


def answers(client):
    try:
        return client.ping()
    except redis.RedisError:
        return False


async def test_redis_killed_often_is_back_as_fast(tmp_path, capfd):
    (program,) = programs.redis(Environment(_env_file=None, data_dir=tmp_path), tmp_path)
    output = Output(7)
    child = Child(program, output)
    with connect(f"unix://{tmp_path}/redis.sock", 10) as client:
        for _ in range(3):
            await asyncio.to_thread(until, lambda: answers(client))
            await asyncio.sleep(program.steady)
            os.kill(client.info("server")["process_id"], signal.SIGKILL)
            await asyncio.to_thread(until, lambda: not answers(client))
        await asyncio.to_thread(until, lambda: answers(client))
    await child.stop()
    output.close()
    assert capfd.readouterr().out.count("starting it again in 0.5 s") == 3


def test_embedded_redis_has_a_bound(tmp_path):
    command = embedded_redis.command(tmp_path)
    assert command[command.index("--maxmemory") + 1] == str(1 << 30)


def test_stored_responses_give_way_and_rows_stay(small):
    for number in range(200):
        small.xadd("lgw:usage", {"row": f"{number}"})
    for number in range(400):
        small.set(f"lgw:response:1:{number}", b"x" * 100_000, ex=3600)
        small.xadd("lgw:usage", {"row": "later"})
        assert small.set("lgw:instance:w1-i1", "beat", ex=15)
    assert small.xlen("lgw:usage") == 600
    assert 10 < len(small.keys("lgw:response:*")) < 200
    assert small.get("lgw:instance:w1-i1") == b"beat"


def add_rows(client, most):
    for _ in range(most):
        yield client.xadd("lgw:usage", {"row": b"x" * 40_000})


def test_store_full_of_rows_loses_none(small):
    added = add_rows(small, 1000)
    taken = 0
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        for taken, _ in enumerate(added, 1):  # noqa: B007 - it is what was taken before the refusal
            pass
    assert small.xlen("lgw:usage") == taken > 100
