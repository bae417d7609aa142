"""One instance over a simulator process of its own: the whole life of a program."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from bridge.chat.errors import ConnectionLost
from bridge.lingma.dialects.base import Ask
from bridge.pool.instances import lifecycle
from bridge.pool.options import InstanceOptions, InstanceSpec
from tests.bridge.lingma.conftest import ended
from tests.bridge.lingma.service import DIALECT
from tests.bridge.living import alive, gone
from tests.bridge.pools import in_state, running, simulator, until

STAND_IN = Path(__file__).parents[2] / "lingma" / "stand_in.py"
QUICK = "first_ms=0 delay_ms=0"


def ask(pool, text, request_id="r1"):
    return pool.instances[0].ask(Ask(request_id, f"s-{request_id}", text, "org_auto"))


async def test_a_program_is_started_asked_and_ended(tmp_path):
    async with running([simulator(tmp_path, "--login=auto")]) as pool:
        status = pool.statuses()[0]
        turn = ask(pool, f'[[sim: text="Hello there" {QUICK} usage="7,2"]]')
        assert "".join(await ended(turn)) == "Hello there"
        usage = await pool.instances[0].log.wait_for("r1") or pool.instances[0].log.usage("r1")
        assert (usage.prompt_tokens, usage.completion_tokens) == (7, 2)
        assert alive(status.pid)
    assert status.version == "2.11.1"
    assert await gone(status.pid)


async def test_a_program_without_a_login_waits_for_one(tmp_path):
    async with running([simulator(tmp_path)], ready=False) as pool:
        await in_state(pool, "login_required")
        (tmp_path / "simulator.json").write_text(json.dumps({"login": "auto"}))
        await in_state(pool, "ready")
        assert pool.statuses()[0].login
        (tmp_path / "simulator.json").write_text(json.dumps({"login": "out"}))
        await in_state(pool, "login_required")
        assert not pool.statuses()[0].login


async def test_a_program_that_crashes_is_started_again(tmp_path):
    async with running([simulator(tmp_path, "--login=auto")]) as pool:
        before = pool.statuses()[0]
        turn = ask(pool, f"[[sim: chunks=50 fault=F21 after=2 {QUICK}]]")
        await ended(turn)
        assert isinstance(turn.end.error, ConnectionLost)
        await in_state(pool, "backoff")
        assert not pool.ready
        await in_state(pool, "ready")
        after = pool.statuses()[0]
    assert after.generation > before.generation
    assert (after.pid != before.pid, after.restarts) == (True, 1)


async def test_a_program_that_is_killed_is_started_again(tmp_path):
    async with running([simulator(tmp_path, "--login=auto")]) as pool:
        os.kill(pool.statuses()[0].pid, signal.SIGKILL)
        await in_state(pool, "backoff")
        await in_state(pool, "ready")
        assert pool.statuses()[0].restarts == 1


async def test_lost_connection_to_living_program_needs_no_restart(tmp_path, monkeypatch):
    monkeypatch.setattr(lifecycle, "BRIEF_SEC", 0)
    async with running([simulator(tmp_path, "--login=auto")]) as pool:
        before = pool.statuses()[0]
        (tmp_path / "simulator.json").write_text(json.dumps({"kick": 1}))
        await in_state(pool, "starting")
        assert "connection lost" in pool.statuses()[0].last_error
        await in_state(pool, "ready")
        after = pool.statuses()[0]
        assert after.last_error == ""
    assert (after.pid, after.generation, after.restarts) == (before.pid, before.generation, 0)


async def test_program_silent_on_initialize_is_restarted(tmp_path):
    options = InstanceOptions(start_timeout=1.0)
    async with running([simulator(tmp_path, "--initialize-silent")], instances=options, ready=False) as pool:
        await until(pool, lambda: pool.statuses()[0].state == "backoff" and pool.statuses()[0].restarts == 1)
        assert pool.statuses()[0].pid == 0
        assert pool.statuses()[0].last_error == "the service did not answer in time"


@pytest.mark.parametrize("command", [("/nowhere/Lingma",), ("/bin/sh", "-c", "exit 3")])
async def test_program_that_does_not_start_is_reported(tmp_path, command):
    async with running([InstanceSpec("lingma", DIALECT, command, (), tmp_path)], ready=False) as pool:
        await in_state(pool, "backoff")
        assert "exited with code" in pool.statuses()[0].last_error


async def test_port_taken_by_a_stranger_is_not_dialled(tmp_path):
    visitors = []
    source = InstanceSpec("lingma", DIALECT, (sys.executable, str(STAND_IN)), (), tmp_path)
    async with running([source], ready=False) as pool:
        port = await port_of(tmp_path)
        server = await asyncio.start_server(lambda *_: visitors.append(1), "127.0.0.1", port)
        await in_state(pool, "backoff")
        assert pool.instances[0].incidents.last_error == "another program listens on the port that was meant for it"
        server.close()
        await server.wait_closed()
    assert visitors == []


async def port_of(work_dir):
    """The port that the stand-in was told to listen on, as soon as it runs."""
    path = work_dir / "facts.json"
    async with asyncio.timeout(30):
        while not path.exists():
            await asyncio.sleep(0.01)
    return int(json.loads(path.read_text())["argv"][3].rpartition("=")[2])


async def test_pool_stops_at_once_during_a_start(tmp_path):
    source = simulator(tmp_path, "--login=auto", "--start-delay-ms=60000")
    async with running([source], instances=InstanceOptions(start_timeout=60), ready=False) as pool:
        await in_state(pool, "starting")
    assert pool.statuses()[0].state == "stopped"


async def test_running_service_is_attached_by_url_and_path(tmp_path):
    async with running([simulator(tmp_path, "--login=auto")]):
        info = json.loads((tmp_path / ".info.json").read_text())
        url, path = f"ws://127.0.0.1:{info['websocketPort']}", str(tmp_path)
        async with running(
            [InstanceSpec("attached", DIALECT, attach=url), InstanceSpec("attached", DIALECT, attach=path)]
        ) as pool:
            assert [status.state for status in pool.statuses()] == ["ready", "ready"]
            assert [each.log is not None for each in pool.instances] == [False, True]
            assert "".join(await ended(ask(pool, f"[[sim: text=Hi {QUICK}]]"))) == "Hi"
