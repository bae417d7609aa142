"""Errors of the log, as a Sentry project receives them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.receiver import Receiver

ROOT = Path(__file__).parents[2]
CODE = """
import logging
import django
django.setup()
log = logging.getLogger("bridge.example")

def fail(prompt):
    raise RuntimeError("with the key lgw_abcdefgh_canary-secret-of-a-key")

# In two parts: Python 3.13 knows the source of such a program, and lines of code are no values.
log.info("can" "ary-info")
try:
    fail("can" "ary-prompt")
except RuntimeError:
    log.exception("it broke, password=canary-password")
import sentry_sdk
sentry_sdk.flush(30)
"""


@pytest.fixture(scope="module")
def project():
    with Receiver() as running:
        yield running


def dsn_of(project):
    return f"http://0123456789abcdef0123456789abcdef@127.0.0.1:{project.server_port}/1"


def run(code, data_dir, **settings):
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "gateway_project.settings", "DATA_DIR": str(data_dir), **settings}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False
    )


def test_error_arrives_without_secrets_and_values(tmp_path, project):
    (tmp_path / "dsn").write_text(dsn_of(project) + "\n")
    done = run(CODE, tmp_path, SENTRY_DSN_FILE=str(tmp_path / "dsn"))
    assert done.returncode == 0, done.stderr
    (envelope,) = project.bodies
    event = json.loads(envelope.splitlines()[2])
    (error,) = event["exception"]["values"]
    assert (error["type"], error["stacktrace"]["frames"][-1]["function"]) == ("RuntimeError", "fail")
    assert (event["logger"], event["release"].partition("@")[0]) == ("bridge.example", "lingma-gateway")
    assert b"canary" not in envelope


def test_sentry_is_not_loaded_without_a_dsn(tmp_path):
    code = "import django, sys; django.setup(); print([name for name in sys.modules if name.startswith('sentry')])"
    assert run(code, tmp_path).stdout.strip() == "[]"
