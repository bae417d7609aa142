"""Several schedulers and processes that all want to log in: each login is made once, as its service counts."""

import subprocess
import sys

import pytest

from tests.directories import copy
from tests.e2e.installation import ROOT, django, environment, until
from tests.e2e.test_log_in_anew import WRAPPER
from tests.environment import start_redis

LOGINS = """
from datetime import timedelta
from django.utils import timezone
from bridge.models import Login
from gateway_project.lib.secrets_at_rest import Secret
for number in range(3):
    Login.objects.create(label=f"login-{number}", kind="personal_token", credentials=Secret.of(b"token"), generation=1,
                         account="logged_in", expires_at=timezone.now() + timedelta(hours=1))
"""
SCHEDULER = """
import sys, time
import django; django.setup()
from django.conf import settings
from bridge.fleet import attempts, login_refresh
print("ready", flush=True); sys.stdin.readline()
while True:
    attempts.look_after()
    login_refresh.begin_due(settings.LOGIN_REFRESH)
    time.sleep(0.05)
"""
WORKER = """
import asyncio, sys, time
import django; django.setup()
from bridge.models import LoginAttempt
from bridge.signin import tasks
print("ready", flush=True); sys.stdin.readline()
while True:
    for attempt in LoginAttempt.objects.filter(state="waiting").order_by("?").values_list("pk", flat=True):
        asyncio.run(tasks.run(attempt))
    time.sleep(0.02)
"""
FACTS = """
from bridge.models import Login, LoginAttempt
print(sorted(Login.objects.values_list("generation", flat=True)), LoginAttempt.objects.count(),
      LoginAttempt.objects.filter(result="logged_in").count())
"""


@pytest.fixture
def installation(tmp_path, migrated):
    """A data directory with logins that end soon, and the variables of its processes."""
    data_dir, starts, program = copy(migrated, tmp_path / "data"), tmp_path / "starts", tmp_path / "Lingma"
    program.write_text(WRAPPER.format(root=ROOT, python=sys.executable, starts=starts))
    program.chmod(0o755)
    (data_dir / "metrics").mkdir(exist_ok=True)
    server = start_redis(data_dir)
    settings = {"LINGMA_BIN": str(program)}
    django(data_dir, LOGINS, **settings)
    yield data_dir, starts, settings
    server.terminate()
    server.wait()


def test_two_schedulers_and_four_processes_log_in_once(installation):
    data_dir, starts, settings = installation
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, env=environment(data_dir, **settings), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for code in [SCHEDULER] * 2 + [WORKER] * 4
    ]  # fmt: skip
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        until(lambda: django(data_dir, FACTS, **settings) == "[2, 2, 2] 3 3", seconds=120, every=0.5)
        assert all(process.poll() is None for process in processes)
        assert starts.read_text().count("\n") == 3
    finally:
        for process in processes:
            process.kill()
            process.communicate()
