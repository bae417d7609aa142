import asyncio
import copy
import os
import signal
import time

import pytest

from gateway_project.lib.redis.redis_link import RedisLink
from tests.accounts.roles.people import People
from tests.environment import start_redis


class OwnRedis:
    """A server a test may kill, freeze and start again."""

    def __init__(self, directory, *options):
        self.directory = directory
        self.options = options
        self.url = f"unix://{directory / 'redis.sock'}"
        self.start()

    def start(self):
        self.process = start_redis(self.directory, *self.options)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def freeze(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self.process.pid, signal.SIGCONT)


@pytest.fixture
def own_redis(tmp_path):
    server = OwnRedis(tmp_path)
    yield server
    server.kill()


@pytest.fixture
async def link(redis_server):
    link = RedisLink(redis_server, timeout=30)  # where the machine is busy, Redis too
    await link.execute("FLUSHALL")
    yield link
    await link.close()


@pytest.fixture(scope="module")
def shared_people(shared_rows):
    return People()


@pytest.fixture
def people(db, shared_people):
    """One user for each role, and two teams with keys: the same rows in each test of a module, read anew."""
    return copy.deepcopy(shared_people)


async def until(condition, within=45.0):
    """Wait until the condition holds; fail when it never does."""
    end = time.monotonic() + within
    while not (result := condition()):
        assert time.monotonic() < end, "it never came true"
        await asyncio.sleep(0.01)
    return result
