"""Errors of the log, as a Sentry project receives them."""

import gzip
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = """
import logging
import django
django.setup()
log = logging.getLogger("bridge.example")

def fail(prompt):
    raise RuntimeError("with the key lgw_abcdefgh_canary-secret-of-a-key")

log.info("canary-info")
try:
    fail("canary-prompt")
except RuntimeError:
    log.exception("it broke, password=canary-password")
import sentry_sdk
sentry_sdk.flush(30)
"""


class Project(ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Receiver)
        self.received = []
        threading.Thread(target=self.serve_forever, args=(0.05,)).start()

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    @property
    def dsn(self):
        return f"http://0123456789abcdef0123456789abcdef@127.0.0.1:{self.server_port}/1"


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.append(gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def project():
    with Project() as running:
        yield running


def run(code, data_dir, **settings):
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "gateway_project.settings", "DATA_DIR": str(data_dir), **settings}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False
    )


def test_error_arrives_without_secrets_and_values(tmp_path, project):
    (tmp_path / "dsn").write_text(project.dsn + "\n")
    done = run(CODE, tmp_path, SENTRY_DSN_FILE=str(tmp_path / "dsn"))
    assert done.returncode == 0, done.stderr
    (envelope,) = project.received
    event = json.loads(envelope.splitlines()[2])
    (error,) = event["exception"]["values"]
    assert (error["type"], error["stacktrace"]["frames"][-1]["function"]) == ("RuntimeError", "fail")
    assert (event["logger"], event["release"].partition("@")[0]) == ("bridge.example", "lingma-gateway")
    assert b"canary" not in envelope


def test_without_a_dsn_nothing_is_loaded(tmp_path):
    code = "import django, sys; django.setup(); print([name for name in sys.modules if name.startswith('sentry')])"
    assert run(code, tmp_path).stdout.strip() == "[]"
