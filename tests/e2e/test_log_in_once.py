"""Several schedulers and processes that all want to log in: each login is made once, as its service counts."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from tests.directories import copy
from tests.e2e.installation import ROOT, django, environment, until
from tests.e2e.test_log_in_anew import WRAPPER
from tests.environment import start_redis

LOGINS = """
from datetime import timedelta
from django.utils import timezone
from bridge.models import Login
from gateway_project.lib.secrets.secrets_at_rest import Secret
for number in range(3):
    Login.objects.create(label=f"login-{number}", kind="personal_token", credentials=Secret.of(b"token"), generation=1,
                         account="logged_in", expires_at=timezone.now() + timedelta(hours=1))
"""
FORKS = """
import asyncio, os, sys, time
import django
from django.conf import settings
settings.LOGGING_CONFIG = None  # it starts a thread, which no fork has
django.setup()
from bridge.fleet import attempts, login_refresh
from bridge.models import LoginAttempt
from bridge.signin import tasks

def schedule():
    attempts.look_after()
    login_refresh.begin_due(settings.LOGIN_REFRESH)
    time.sleep(0.05)

def work():
    for attempt in LoginAttempt.objects.filter(state="waiting").order_by("?").values_list("pk", flat=True):
        asyncio.run(tasks.run(attempt))
    time.sleep(0.02)

for do in [schedule] * 2 + [work] * 4:
    if os.fork() == 0:
        try:
            while True:
                do()
        finally:
            os._exit(1)
os.wait()
"""
"""Two schedulers and four workers; it ends when one of them does."""
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
    parent = subprocess.Popen(
        [sys.executable, "-c", FORKS], cwd=ROOT, env=environment(data_dir, **settings), stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        until(lambda: django(data_dir, FACTS, **settings) == "[2, 2, 2] 3 3", seconds=120, every=0.5)
        assert parent.poll() is None
        assert len(psutil.Process(parent.pid).children()) == 6
        assert starts.read_text().count("\n") == 3
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()
