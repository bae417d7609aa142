"""What hangs is named, ended and started again; what only seems to is left alone."""

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys

import pytest
import redis

from gateway_project.supervise import watch
from tests.e2e.installation import until
from tests.gateway_project.gateway import ROOT, Gateway, survivors
from tests.gateway_project.test_supervise import answers
from tests.trials.test_restarts import stream_of

pytestmark = pytest.mark.e2e

SOON = """
import sys
from gateway_project.supervise import __main__, programs
programs.WEB_SILENCE = programs.REDIS_SILENCE = programs.BACKGROUND_SILENCE = 5.0
sys.argv[1:] = []  # there is the command in whose place this stands
sys.exit(__main__.main())
"""
WRAPPER = (sys.executable, "-c", SOON)
PARTS = {"web-1": ("gateway_project.server",), "redis": ("redis.sock",), "worker": ("celery", "worker")}


def has_ticked(data_dir):
    """Whether the scheduler has told Redis that it goes on."""
    with redis.Redis(unix_socket_path=str(data_dir / "redis.sock")) as client:
        return client.exists("lgw:modes:beat")


def rest_of(stream):
    """What still comes, until it ends or is cut."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        return stream.read()
    return b""


def test_hung_part_is_killed_and_restarted(data_dir):
    with Gateway(data_dir, wrapper=WRAPPER) as gateway:
        gateway.complete()
        with stream_of(gateway, "[[sim: chunks=9000 delay_ms=100]]") as stream:
            assert stream.readline().startswith(b"data: ")
            until(lambda: has_ticked(data_dir), seconds=40)
            web = gateway.descendant(*PARTS["web-1"])
            instances = web.children(recursive=True)
            for words in PARTS.values():
                gateway.descendant(*words).send_signal(signal.SIGSTOP)
            for name in PARTS:
                gateway.until(rf"{name} gave no sign of life for \d+ s and was killed by SIGKILL; starting it again")
            assert b"[DONE]" not in rest_of(stream)  # its client waits no longer
        assert instances
        assert survivors([web, *instances]) == []
        gateway.until(r"^worker .* ready", count=2)
        assert answers(gateway) == 200
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.ended()[0] == 0


CHILD = """
import ctypes, time
from gateway_project.lib.processes import life_signs
ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1))  # PR_SET_PTRACER: anybody may look at it
while True:
    life_signs.alive()
    time.sleep(0.05)
"""
DEBUGGER = """
import ctypes, os, sys
assert ctypes.CDLL(None).ptrace(16, int(sys.argv[1]), None, None) == 0  # PTRACE_ATTACH
os.waitpid(int(sys.argv[1]), 0)
print("attached", flush=True)
sys.stdin.read()
"""
LEFT_ALONE = f"""
import asyncio, signal, subprocess, sys, time
import psutil
from gateway_project.supervise import watch
from gateway_project.supervise.child import Child, Program
from gateway_project.supervise.output import Output
from tests.processes import command_line

CHILD, DEBUGGER = {CHILD!r}, {DEBUGGER!r}

def running():
    return [each for each in psutil.Process().children() if CHILD in command_line(each)[-1:]]

async def main():
    watch.CHECK_SEC, watch.LATE_SEC = 0.1, 0.5
    output = Output(7)
    child = Child(Program("patient", (sys.executable, "-c", CHILD), silence=3.0), output)
    while not running():
        await asyncio.sleep(0.05)
    process = running()[0]
    await asyncio.sleep(1)

    process.suspend()
    time.sleep(4.5)  # the supervisor stands still too, as when the machine is suspended
    process.resume()
    await asyncio.sleep(1)
    output.message(f"after a suspension {{process.is_running()}}")

    debugger = subprocess.Popen([sys.executable, "-c", DEBUGGER, str(process.pid)], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE)
    await asyncio.to_thread(debugger.stdout.readline)
    await asyncio.sleep(4.5)
    output.message(f"in a debugger {{process.is_running()}}")
    debugger.communicate()
    await asyncio.sleep(0.5)

    process.suspend()
    while running() in ([], [process]):
        await asyncio.sleep(0.05)
    await child.stop()
    output.close()

asyncio.run(main())
"""


def test_suspended_machine_and_debugger_end_nothing():
    done = subprocess.run(
        [sys.executable, "-c", LEFT_ALONE], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    lines = [line.partition(" | ")[2] for line in done.stdout.splitlines()]
    assert lines[:2] == ["after a suspension True", "in a debugger True"]
    assert re.fullmatch(r"patient gave no sign of life for 3 s and was killed by SIGKILL; .*", lines[2])
    assert done.stderr == ""


async def test_child_has_longer_before_its_first_sign(monkeypatch):
    monkeypatch.setattr(watch, "CHECK_SEC", 0.01)
    monkeypatch.setattr(watch, "START_SEC", 0.5)
    monkeypatch.setattr(watch, "LATE_SEC", 60)
    looks = []

    async def poll():
        looks.append(None)
        return len(looks) == 40

    await watch.until_hung(poll, 0.1, os.getpid())
    assert len(looks) == 50


LOOKS_FOR_ITS_BROKER = """
import django, os, threading
from contextlib import suppress
django.setup()
from gateway_project.celery import app
from gateway_project.lib.processes import life_signs

def connect():
    with suppress(Exception):
        app.connection_for_write().ensure_connection(max_retries=1, timeout=1)

thread = threading.Thread(target=connect)
thread.start()
thread.join()
os.write(int(os.environ[life_signs.LIFE_FD]), b"|")
connect()
"""


def test_life_signs_come_only_from_working_thread(tmp_path):
    mine, theirs = os.pipe()
    with os.fdopen(mine, "rb") as signs:
        told = {"DATA_DIR": str(tmp_path), "REDIS_URL": "redis://127.0.0.1:1", "GATEWAY_LIFE_FD": str(theirs),
                "DJANGO_SETTINGS_MODULE": "gateway_project.settings"}  # fmt: skip
        subprocess.run(
            [sys.executable, "-c", LOOKS_FOR_ITS_BROKER], cwd=ROOT, env=os.environ | told, pass_fds=[theirs],
            timeout=60, check=True,
        )  # fmt: skip
        os.close(theirs)
        said = signs.read()
    assert said.startswith(b"|.")
