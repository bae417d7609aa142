"""Services that hang, close, crash, move or come and go: how an instance gets over it, over real processes."""

import asyncio
import json
import logging
import os
import shutil
import signal
import sys
import time

import pytest

from bridge.chat.errors import ConnectionLost
from bridge.lingma import liveness
from bridge.lingma.dialects.base import Ask
from bridge.lingma.process.endpoint import Endpoint
from bridge.pool.instances import lifecycle
from bridge.pool.options import InstanceSpec
from tests.bridge.lingma.conftest import ended
from tests.bridge.lingma.service import DIALECT, Service
from tests.bridge.living import alive, gone
from tests.bridge.pools import ROOT, attached, in_state, running, simulator, until

QUICK = "first_ms=0 delay_ms=0"


def ask(pool, text, request_id="r1"):
    return pool.instances[0].ask(Ask(request_id, f"s-{request_id}", text, "org_auto"))


async def serve_a_turn(pool, request_id="r0"):
    assert "".join(await ended(ask(pool, f"[[sim: text=Hi {QUICK}]]", request_id))) == "Hi"


@pytest.fixture
def quick_beats(monkeypatch):
    """For services that are to be found hung; never where one must not be: this machine may be slow."""
    monkeypatch.setattr(liveness, "BEAT_SEC", 0.125)


@pytest.fixture
async def start(tmp_path):
    """Services that somebody else has started: `start("--flag")` gives the process and its work dir."""
    started = []

    async def start(*flags, work_dir=tmp_path / "theirs"):
        command = [sys.executable, "-m", "bridge.simulator", "start", f"--workDir={work_dir}", "--login=auto"]
        (work_dir / ".info.json").unlink(missing_ok=True)
        process = await asyncio.create_subprocess_exec(
            *command, "--socketPort=0", "--httpPort=0", *flags, env={**os.environ, "PYTHONPATH": ROOT}
        )
        started.append(process)
        async with asyncio.timeout(30):
            while not (work_dir / ".info.json").exists():
                await asyncio.sleep(0.01)
        return process, work_dir

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.wait()


# -- hung -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pings", ["frames", "requests"])
async def test_program_hanging_under_a_turn_is_replaced(tmp_path, quick_beats, pings):
    async with running([simulator(tmp_path, "--login=auto", f"--pings={pings}")]) as pool:
        instance, before = pool.instances[0], pool.statuses()[0]
        thinking = ask(pool, "[[sim: text=Hi first_ms=1000]]", "r0")  # pings are answered meanwhile
        assert "".join(await ended(thinking)) == "Hi"
        turn = ask(pool, "[[sim: text=Hi first_ms=60000]]")
        await asyncio.to_thread(os.kill, before.pid, signal.SIGSTOP)
        assert await ended(turn) == []
        assert isinstance(turn.end.error, ConnectionLost)
        assert await instance.exit_of(before.generation)
        await in_state(pool, "ready")
        assert await gone(before.pid)
        assert pool.statuses()[0].generation > before.generation
        await serve_a_turn(pool)


async def test_an_idle_program_that_hangs_is_noticed(tmp_path, quick_beats):
    async with running([simulator(tmp_path, "--login=auto")]) as pool:
        before = pool.statuses()[0]
        os.kill(before.pid, signal.SIGSTOP)
        await until(pool, lambda: pool.ready and pool.statuses()[0].pid != before.pid)
        assert not alive(before.pid)


async def test_service_without_pings_is_not_called_hung(tmp_path, quick_beats):
    async with running([simulator(tmp_path, "--login=auto", "--pings=none")]) as pool:
        before = pool.statuses()[0]
        assert "".join(await ended(ask(pool, "[[sim: text=Hi first_ms=2200]]"))) == "Hi"
        assert pool.statuses()[0].pid == before.pid


async def test_attached_service_hung_briefly_keeps_sessions(start, quick_beats):
    process, work_dir = await start()
    async with running([InstanceSpec("attached", DIALECT, attach=str(work_dir))]) as pool:
        before = pool.statuses()[0]
        process.send_signal(signal.SIGSTOP)
        await in_state(pool, "starting")
        assert "does not answer any more" in pool.statuses()[0].last_error
        process.send_signal(signal.SIGCONT)
        await in_state(pool, "ready")
        assert pool.statuses()[0].generation == before.generation
        assert not await pool.instances[0].exit_of(before.generation)


# -- lost connections -------------------------------------------------------------------------------------------


async def test_idle_closing_service_fails_nobody_and_keeps_sessions(start, caplog):
    caplog.set_level(logging.INFO)
    _, work_dir = await start("--idle-sec=1.5", "--pings=none")
    async with running([InstanceSpec("attached", DIALECT, attach=str(work_dir))]) as pool:
        instance, generation = pool.instances[0], pool.instances[0].generation
        for number in range(3):
            lost = asyncio.Event()
            pool.on_change = lost.set
            await asyncio.wait_for(lost.wait(), 30)
            await until(pool, lambda: pool.ready)
            await serve_a_turn(pool, f"r{number}")
        assert (instance.generation, instance.incidents.restarts) == (generation, 0)
    assert len([record for record in caplog.records if "w1-i1: connection lost" in record.getMessage()]) == 1


async def test_pings_keep_a_connection_open(start, quick_beats):
    _, work_dir = await start("--idle-sec=2")
    async with running([InstanceSpec("attached", DIALECT, attach=str(work_dir))]) as pool:
        changes = []
        pool.on_change = lambda: changes.append(pool.statuses()[0].state)
        async with asyncio.timeout(30):
            while pool.instances[0]._link.connection._channel.pongs < 5:
                await asyncio.sleep(0.05)
        assert changes == []


async def test_dropping_service_is_not_dialled_at_full_speed():
    async with Service() as service, running(attached(service)) as pool:
        began = time.monotonic()
        for _ in range(4):
            await service.drop()
            await in_state(pool, "starting")
            await in_state(pool, "ready")
        assert time.monotonic() - began >= 0.1 + 0.2 + 0.4 + 0.8


async def test_moved_attached_service_is_found_as_new_run(start):
    first, work_dir = await start()
    async with running([InstanceSpec("attached", DIALECT, attach=str(work_dir))]) as pool:
        before = pool.statuses()[0]
        first.kill()
        await first.wait()
        await in_state(pool, "starting")
        assert await pool.instances[0].exit_of(before.generation)
        await start()
        began = time.monotonic()
        await until(pool, lambda: pool.ready)
        assert time.monotonic() - began < 15
        assert pool.statuses()[0].generation > before.generation
        await serve_a_turn(pool)


async def test_dead_info_file_is_read_until_it_works(start, tmp_path):
    _, work_dir = await start()
    elsewhere = tmp_path / "attached"
    elsewhere.mkdir()
    (elsewhere / ".info.json").write_text(json.dumps({"websocketPort": 9, "pid": 4194000}))
    async with running([InstanceSpec("attached", DIALECT, attach=str(elsewhere))], ready=False) as pool:
        await in_state(pool, "backoff")
        shutil.copy(work_dir / ".info.json", elsewhere / ".info.json")
        await in_state(pool, "ready")
        assert pool.ready


def info_of(service, folder):
    """A work dir that leads to this service."""
    folder.mkdir()
    (folder / ".info.json").write_text(json.dumps({"websocketPort": service.port}))
    return folder


async def test_work_dir_that_errs_is_looked_for_again(monkeypatch, tmp_path):
    monkeypatch.setattr(lifecycle, "POLL_SEC", 0.05)
    looks, find = asyncio.Semaphore(0), Endpoint.find
    monkeypatch.setattr(Endpoint, "find", lambda where: looks.release() or find(where))
    mount = tmp_path / "mount"
    mount.symlink_to("x" * 300)  # it raises for root, too, as a mount that is away
    async with (
        Service() as service,
        running([InstanceSpec("attached", DIALECT, attach=str(mount))], ready=False) as pool,
    ):
        async with asyncio.timeout(30):
            for _ in range(6):
                await looks.acquire()
        mount.unlink()
        mount.symlink_to(info_of(service, tmp_path / "theirs"))
        await in_state(pool, "ready")
        assert pool.ready


async def test_instance_outlives_a_bug_between_two_runs(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(lifecycle, "POLL_SEC", 0.05)
    work_dir, broke = tmp_path / "theirs", asyncio.Event()

    def break_once():
        if pool.statuses()[0].state == "backoff" and not broke.is_set():
            broke.set()
            raise RuntimeError("a bug")

    async with (
        Service() as service,
        running([InstanceSpec("attached", DIALECT, attach=str(work_dir))], ready=False) as pool,
    ):
        pool.on_change = break_once
        async with asyncio.timeout(30):
            await broke.wait()
        info_of(service, work_dir)
        await in_state(pool, "ready")
    assert "the end of a run broke" in caplog.text


# -- crashes ----------------------------------------------------------------------------------------------------


async def test_program_that_served_restarts_at_once_each_time(tmp_path):
    async with running([simulator(tmp_path, "--login=auto")]) as pool:
        instance = pool.instances[0]
        for number in range(3):
            await serve_a_turn(pool, f"r{number}")
            generation = instance.generation
            os.kill(pool.statuses()[0].pid, signal.SIGKILL)
            await until(pool, lambda expected=number + 1: instance.incidents.restarts == expected)
            assert instance.back_within(0.1)
            assert await instance.exit_of(generation)
            await in_state(pool, "ready")


async def test_a_lost_work_dir_costs_one_start(tmp_path):
    async with running([simulator(tmp_path / "work", "--login=auto")]) as pool:
        before = pool.statuses()[0]
        shutil.rmtree(tmp_path / "work")
        os.kill(before.pid, signal.SIGKILL)
        await until(pool, lambda: pool.ready and pool.statuses()[0].pid != before.pid)
        assert pool.instances[0].incidents.restarts == 1
        await serve_a_turn(pool)


async def test_start_without_room_is_made_later(tmp_path):
    (tmp_path / "instances").write_text("in the way")
    async with running([simulator(tmp_path / "instances" / "w1-i1", "--login=auto")], ready=False) as pool:
        await in_state(pool, "backoff")
        assert "w1-i1" in pool.statuses()[0].last_error
        (tmp_path / "instances").unlink()
        await in_state(pool, "ready")
