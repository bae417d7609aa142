"""What a process that stops waits for, of what other processes have of it."""

import asyncio

import msgspec
import pytest

from bridge.pool.policy import Line
from bridge.runtime.neighbours import Neighbours
from bridge.siblings.messages import Demand
from gateway_project.env import Environment
from gateway_project.lib.processes.unix_sockets import socket_path
from gateway_project.lib.redis.redis_link import RedisLink
from tests.bridge.lingma.service import Service
from tests.bridge.pools import attached, running

HOUR = 3600


@pytest.fixture
async def neighbours(tmp_path):
    """Those of a process that has lent a place."""
    env = Environment(web_processes=2, drain_sec=HOUR, redis_url="redis://nowhere")
    async with Service() as service, running(attached(service)) as pool:
        link = RedisLink("unix:///nowhere/redis.sock")
        neighbours = Neighbours(env, tmp_path, b"pepper", link, pool)
        following = asyncio.create_task(neighbours.start()[0]())
        path = socket_path(tmp_path, "web-1")
        async with asyncio.timeout(30):
            while not path.exists():
                await asyncio.sleep(0.01)
            _, writer = await asyncio.open_unix_connection(str(path))
            demand = msgspec.msgpack.encode(Demand(1, 0, Line(0, 0)))
            writer.write(len(demand).to_bytes(4, "big") + demand)
            while not neighbours.use_this:
                await asyncio.sleep(0.01)
        yield neighbours
        writer.close()
        following.cancel()
        await asyncio.wait({following})
        await link.close()


@pytest.fixture
def pass_by(monkeypatch):
    """Have so many seconds pass, by the clock of the loop."""

    async def pass_by(seconds):
        loop = asyncio.get_running_loop()
        before = loop.time
        monkeypatch.setattr(loop, "time", lambda: before() + seconds)

    return pass_by


async def test_others_have_the_time_that_own_turns_have(neighbours, pass_by):
    """Counted from the order to stop, and not anew for each kind: else the supervisor kills before rows are written."""
    with neighbours.guests.one():
        neighbours.drain()
        returned = asyncio.create_task(neighbours.returned())
        await asyncio.sleep(0)
        assert not returned.done()
        await pass_by(HOUR)
        async with asyncio.timeout(30):
            await returned
        assert neighbours.use_this
