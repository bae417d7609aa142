"""Real programs, started, watched and ended."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.lingma.errors import StartFailed
from bridge.lingma.process import process
from bridge.lingma.process.process import Process, free_ports
from tests.bridge.living import alive, gone

STAND_IN = str(Path(__file__).with_name("stand_in.py"))
COMMAND = (sys.executable, STAND_IN)
PARENT = f"""
import asyncio, sys
from pathlib import Path
from bridge.lingma.process.process import Process

async def main():
    child = await Process.start({COMMAND!r}, Path(sys.argv[1]), (), {{}})
    await child.exited

asyncio.run(main())
"""


async def facts_of(work_dir):
    """What the program tells of itself, as soon as it does."""
    path = work_dir / "facts.json"
    async with asyncio.timeout(30):
        while not path.exists():
            await asyncio.sleep(0.01)
    return json.loads(path.read_text())


@pytest.fixture
async def start(tmp_path):
    started = []

    async def start(*extra, variables=None):
        child = await Process.start(COMMAND, tmp_path / "work", extra, variables or {})
        started.append(child)
        return child, await facts_of(tmp_path / "work")

    yield start
    for child in started:
        child.kill()
        await child.exited


async def test_program_is_started_by_the_protocol(start, tmp_path):
    child, facts = await start("--endpoint=https://lingma.example.com")
    assert facts["argv"][:3] == ["start", "--transportType=websocket", f"--workDir={tmp_path / 'work'}"]
    ports = [int(argument.rpartition("=")[2]) for argument in facts["argv"][3:5]]
    assert facts["argv"][3:] == [
        f"--socketPort={ports[0]}",
        f"--httpPort={ports[1]}",
        "--endpoint=https://lingma.example.com",
    ]
    assert len(set(ports)) == 2
    assert child.url == f"ws://127.0.0.1:{ports[0]}/"
    assert (tmp_path / "work").stat().st_mode & 0o777 == 0o700


async def test_the_program_sees_no_secrets_of_the_gateway(start, monkeypatch):
    for name in ("DJANGO_SECRET_KEY", "DATABASE_URL", "REDIS_URL", "API_KEYS", "OPENAI_API_KEY", "LINGMA_BIN"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    _, facts = await start(variables={"EXTRA": "1"})
    assert "secret" not in facts["environment"].values()
    assert (facts["environment"]["HTTPS_PROXY"], facts["environment"]["EXTRA"]) == ("http://proxy:3128", "1")
    assert "PATH" in facts["environment"]


async def test_program_has_its_own_session_and_group(start):
    child, facts = await start()
    assert facts["pid"] == facts["group"] == facts["session"] == child.pid
    assert facts["group"] != os.getpgid(0)


async def test_a_stop_ends_the_program_with_an_interrupt(start):
    child, facts = await start()
    await child.stop()
    assert child.exited.result() in {1, 130, -signal.SIGINT}
    assert not alive(facts["pid"])


async def test_a_program_that_ignores_the_interrupt_is_killed(start, monkeypatch):
    monkeypatch.setattr(process, "STOP_SEC", 0.05)
    child, _ = await start("--deaf")
    await child.stop()
    assert child.exited.result() == -signal.SIGKILL


async def test_children_of_the_program_end_with_it(start):
    child, facts = await start("--child")
    await child.stop()
    assert await gone(facts["child"])


async def test_an_exit_is_seen(start):
    child, _ = await start("--exit=7")
    assert await asyncio.wait_for(child.exited, 30) == 7
    await child.stop()


async def test_work_dir_has_one_program_at_a_time(start, tmp_path):
    child, _ = await start()
    with pytest.raises(StartFailed, match="is used by another process"):
        await Process.start(COMMAND, tmp_path / "work", (), {})
    await child.stop()
    again, _ = await start()
    await again.stop()


async def test_missing_program_exits_at_once(tmp_path):
    child = await Process.start(("/nowhere/Lingma",), tmp_path, (), {})
    assert await asyncio.wait_for(child.exited, 30) != 0


async def test_unmakeable_work_dir_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((StartFailed, OSError)):
        await Process.start(COMMAND, tmp_path / "file" / "work", (), {})


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a parent-death signal")
async def test_program_dies_with_a_killed_gateway(tmp_path):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)])
    facts = await facts_of(tmp_path)
    parent.kill()
    parent.wait()
    assert await gone(facts["pid"])


async def test_port_is_others_when_another_program_listens(start):
    child, _ = await start()
    assert await child.holder() == "nobody"
    with socket.create_server(("127.0.0.1", child.port)):
        assert await child.holder() == "other"
    assert await child.holder() == "nobody"


@pytest.mark.parametrize("flags", [("--listen",), ("--listen", "--child")])
async def test_port_is_own_when_program_or_child_listens(start, flags):
    child, _ = await start(*flags)
    assert await child.holder() == "own"


async def test_program_leaving_its_session_is_known_by_records(start):
    child, _ = await start()
    with socket.create_server(("127.0.0.1", child.port)):
        info = {"websocketPort": child.port, "pid": os.getpid()}
        (child.work_dir / ".info.json").write_text(json.dumps(info))
        assert await child.holder() == "own"
        (child.work_dir / ".info.json").write_text(json.dumps(info | {"pid": 1}))
        assert await child.holder() == "other"


def test_ports_are_free_and_distinct():
    ports = free_ports(20)
    assert len(set(ports)) == 20
    for port in ports:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", port))
