import asyncio
import os
import socket

import psutil
import pytest
import redis

from bridge.lingma.process.process import Process
from tests.bridge.pools import simulator
from tests.trials.machines import namespaces


def test_the_test_redis_is_a_real_server(redis_server):
    client = redis.Redis.from_url(redis_server)
    assert client.ping()
    client.close()


def test_networks_that_cannot_be_made_are_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("tests.trials.machines._remove", lambda names: None)
    with pytest.warns(UserWarning, match="two machines share a network"), namespaces(None) as names:
        assert names == []


async def test_forked_simulator_has_nothing_of_ours(monkeypatch, tmp_path):
    monkeypatch.setenv("SOMETHING_OF_OURS", "yes")
    theirs, ours = socket.socketpair()
    source = simulator(tmp_path, "--login=auto")
    child = await Process.start(source.command, tmp_path, source.arguments, dict(source.environment))
    with theirs, ours:
        found = psutil.Process(child.pid)
        assert "-m bridge.simulator start" in " ".join(found.cmdline())
        assert "SOMETHING_OF_OURS" not in found.environ()
        assert os.getsid(child.pid) == child.pid
        theirs.close()
        ours.settimeout(60)
        assert ours.recv(1) == b""  # nobody else holds the other end
        async with asyncio.timeout(60):
            while await child.holder() != "own":
                await asyncio.sleep(0.02)
        await child.stop()
    assert child.exited.done()
