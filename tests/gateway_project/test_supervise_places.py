"""Odd places and odd parents: the gateway works there as anywhere else."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from contextlib import closing

import pytest

from tests.directories import copy
from tests.e2e.installation import until
from tests.gateway_project.gateway import ROOT, Gateway, survivors
from tests.prepared import run_code
from tests.processes import command_line

pytestmark = pytest.mark.e2e

ODD = "a b#c?d%25;e[f]é'\"&="
SHELL = ("/bin/sh", "-c")
CUT_OFF = (*SHELL, 'unset HOME; trap "" HUP INT; exec "$@" <&-', "sh")
"""As `nohup` in the background starts a program, without standard input and without a home."""


def chat(gateway, key, host):
    body = json.dumps({"model": "org_auto", "messages": [{"role": "user", "content": "hi"}]}).encode()
    url = f"http://{host}:{gateway.port}/v1/chat/completions"
    request = urllib.request.Request(url, body, {"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["id"]


def rows(data_dir):
    with closing(sqlite3.connect(data_dir / "gateway.sqlite3")) as database:
        return database.execute("select count(*) from accounts_usage").fetchone()[0]


def filed(data_dir):
    """Turns in the database, asked as an operator would."""
    program = "import django; django.setup(); from accounts.models import Usage; print(Usage.objects.count())"
    environment = {**os.environ, "DATA_DIR": str(data_dir), "DJANGO_SETTINGS_MODULE": "gateway_project.settings"}
    return int(run_code(program, env=environment).stdout)


def metrics(gateway, key):
    url = f"http://127.0.0.1:{gateway.port}/metrics"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode()


def test_odd_place_with_both_families_and_no_terminal(tmp_path, migrated):
    copy(migrated, tmp_path / ODD)
    (tmp_path / "link;#").symlink_to(ODD)
    where = {"cwd": tmp_path, "PYTHONPATH": str(ROOT), "HOST": "localhost", "METRICS_TOKEN": "told-to-nobody-else"}
    with Gateway("link;#", wrapper=CUT_OFF, **where) as gateway:
        gateway.complete()
        key = gateway.until(r"API key +(lgw_\S+)")[1]
        assert chat(gateway, key, "127.0.0.1") != chat(gateway, key, "[::1]")
        until(lambda: rows(tmp_path / ODD) == 2, seconds=60)
        assert filed(tmp_path / ODD) == 2
        assert "lingma_gateway_requests_total{" in metrics(gateway, "told-to-nobody-else")
        for ignored in (signal.SIGHUP, signal.SIGINT):
            gateway.process.send_signal(ignored)
        assert chat(gateway, key, "localhost")
        assert not any("stopping" in line for line in gateway.lines)
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.ended() == (0, "")


def supervisor_of(gateway):
    """Behind the shell that started it."""
    module = ["-m", "gateway_project.supervise"]
    found = until(lambda: [one for one in gateway.descendants() if command_line(one)[1:3] == module], seconds=40)
    until(found[0].children, seconds=40)
    return found[0]


@pytest.mark.parametrize("output", ["{ %s >&-; } 2>&4", "{ %s 2>&4; } | true"])
def test_gateway_ends_though_nobody_reads_output(data_dir, output):
    run = output % '{ "$@"; echo "ended with $?" >&4; }'
    with Gateway(data_dir, wrapper=(*SHELL, f"exec 4>&1; {run}", "sh")) as gateway:
        supervisor = supervisor_of(gateway)
        processes = supervisor.children(recursive=True)
        supervisor.send_signal(signal.SIGTERM)
        gateway.until("ended with 0")
        assert gateway.ended() == (0, "")
        assert survivors(processes) == []


ORPHANS = """
import asyncio, os, subprocess, sys
from gateway_project.supervise import orphans
from gateway_project.supervise.child import Program, spawn

async def main():
    orphans.adopt()
    orphans.REAP_SEC = 0.01
    reaping = asyncio.create_task(orphans.reap_now_and_then())
    left = subprocess.run(["sh", "-c", "sleep 0.1 >/dev/null & echo $!"], capture_output=True, text=True, check=True)
    ours = await spawn(Program("ours", ("sh", "-c", "sleep 0.5; exit 7")), stderr=subprocess.DEVNULL)
    async with asyncio.timeout(30):
        while os.path.exists(f"/proc/{left.stdout.strip()}"):
            await asyncio.sleep(0.01)
        print("collected,", await ours.wait())

asyncio.run(main())
"""


def test_orphans_are_collected_and_foreign_children_left():
    """As the first process of a container has to."""
    done = subprocess.run(
        [sys.executable, "-c", ORPHANS], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "collected, 7\n"
