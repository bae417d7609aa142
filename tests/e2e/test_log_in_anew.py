"""A gateway whose logins are made anew: by command, by the REST API and its login worker, while turns run."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager

import psutil
import pytest

from gateway_project.lib.processes.life_signs import LIFE_FD
from tests.e2e.formats import OPENAI, send
from tests.e2e.installation import ROOT, Gateway, django, environment, patiently
from tests.prepared import Process, manage
from tests.processes import command_line

WRAPPER = """#!/bin/sh
case "$*" in *workDir=*/logins/*) echo "$*" >>{starts};; esac
cd {root} && exec {python} -m bridge.simulator "$@" --renewal=never
"""
AUDITED = """
from accounts.models import AuditEntry
rows = AuditEntry.objects.filter(object_type__in=["bridge.login", "bridge.loginattempt"], action__in=%r)
print(sorted({(row.action, row.source, row.actor) for row in rows}))
"""
COMMANDED = """
import io, sys
from django.core.management import CommandError, call_command
kept, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(%r))
try:
    call_command(*%r)
except CommandError as exc:
    print("refused:", exc)
finally:
    sys.stdin = kept
"""


class Anew:
    """The gateway, its starts of services for log-ins, and its API."""

    def __init__(self, gateway, starts, settings):
        self.gateway, self._starts, self._settings = gateway, starts, settings
        self._token = self.commanded("create_api_token", "admin", "--expires", "1d")

    def django(self, code):
        return django(self.gateway.data_dir, code, **self._settings)

    def commanded(self, *arguments, stdin=""):
        """What a command says, or why not, in a process that is there already."""
        return self.django(COMMANDED % (stdin.encode(), [str(each) for each in arguments]))

    def manage(self, *arguments, code=0):
        done = manage(*arguments, env=environment(self.gateway.data_dir, **self._settings))
        assert done.returncode == code, done.stderr
        return done

    def api(self, method, path, body=None):
        answer = send(
            self.gateway, method, f"/api/{path}", body=body, headers={"authorization": f"Token {self._token}"}
        )
        return answer.status, answer.json()

    def starts(self):
        return self._starts.read_text().count("\n") if self._starts.exists() else 0

    def latest(self):
        return self.api("GET", "logins/1/attempts/")[1][0]


@pytest.fixture(scope="module")
def anew(tmp_path_factory, template):
    directory = tmp_path_factory.mktemp("anew")
    starts = directory / "starts"
    program = directory / "Lingma"
    program.write_text(WRAPPER.format(root=ROOT, python=sys.executable, starts=starts))
    program.chmod(0o755)
    settings = {"LINGMA_BIN": str(program), "LOGIN_TIMEOUT_SEC": "120"}
    with Gateway(directory / "data", template, wait=False, **settings) as gateway:
        anew = Anew(gateway, starts, settings)
        (directory / "token").write_text("token-1\n")
        patiently(lambda: (gateway.work_dir() / "cache" / "id").exists())
        # There is no login worker yet, and none is needed for a command.
        done = anew.manage("lingma_login", "main", "--token-file", directory / "token", "--instances", "w1-i1")
        assert done.stdout.strip() == "main: generation 1, on w1-i1"
        assert "checks the login with a chat" in done.stderr
        patiently(lambda: send(gateway, "GET", "/readyz").status == 200)
        yield anew


@contextmanager
def login_worker(data_dir, settings):
    """The login worker, as the gateway starts it."""
    reading, writing = os.pipe()
    env = environment(data_dir, **settings, LOGIN_QUEUE=f"unix://{data_dir / 'redis.sock'}", **{LIFE_FD: str(writing)})
    with (data_dir / "worker.log").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway_project.login_worker", "INFO"], cwd=ROOT, env=env,
            stdout=output, stderr=output, pass_fds=[writing],
        )  # fmt: skip
    os.close(writing)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(90)
        os.close(reading)


@pytest.fixture(scope="module")
def worker(anew):
    with login_worker(anew.gateway.data_dir, anew._settings) as process:
        yield process


def test_relogin_runs_once_however_often_it_is_asked(anew, worker):
    gateway = anew.gateway
    before = patiently(gateway.login)
    assert "login_worker" in " ".join(command_line(psutil.Process(worker.pid)))
    starts, answers = anew.starts(), []
    asking = [
        threading.Thread(target=lambda: answers.append(anew.api("POST", "logins/1/relogin/", {}))) for _ in range(4)
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(60)
    assert sorted(status for status, _ in answers) == [200, 200, 200, 202]
    assert len({body["id"] for _, body in answers}) == 1
    ended = patiently(lambda: (found := anew.latest())["ended_at"] and found, every=0.2)
    assert (ended["state"], ended["result"], ended["way"], ended["who"]) == (
        "done",
        "logged_in",
        "personal_token",
        "admin",
    )
    assert anew.starts() == starts + 1
    # The instance takes it over, and goes on serving.
    patiently(lambda: gateway.login() not in (before, b""), every=0.2)
    patiently(lambda: gateway.ask(OPENAI, "[[sim: text=hello]] x").text == "hello")
    assert anew.api("GET", "logins/1/")[1]["account"] == "logged_in"


def test_browser_login_is_helped_through_the_api(anew, worker):
    assert anew.api("POST", "logins/1/callback/", {"url": "/auth/callback?x=1"})[0] == 409
    generation = anew.api("GET", "logins/1/")[1]["generation"]
    assert anew.api("POST", "logins/1/relogin/", {"way": "browser"})[0] == 202
    url = patiently(lambda: anew.latest()["url"], every=0.2)
    with urllib.request.urlopen(url, timeout=30) as page:
        link = re.search('id="login" href="(.*?)"', page.read().decode())[1].replace("&amp;", "&")
    assert anew.api("POST", "logins/1/callback/", {"url": "http://127.0.0.1:1/admin/?a=b"})[0] == 400
    assert anew.api("POST", "logins/1/callback/", {"url": f"http://localhost:37510{link}"})[0] == 202
    patiently(lambda: anew.latest()["ended_at"], every=0.2)
    assert (anew.latest()["result"], anew.latest()["url"]) == ("logged_in", "")
    assert anew.api("GET", "logins/1/")[1]["generation"] > generation


def test_cancelled_attempt_is_over_and_told(anew, worker):
    assert anew.api("POST", "logins/1/relogin/", {"way": "browser"})[0] == 202
    patiently(lambda: anew.latest()["url"], every=0.2)
    assert anew.api("POST", "logins/1/cancel/")[1]["state"] == "cancelled"
    assert anew.api("POST", "logins/1/cancel/")[0] == 409
    patiently(lambda: not list((anew.gateway.data_dir / "logins").iterdir()), every=0.2)
    audited = anew.django(AUDITED % ["renewed", "cancelled", "helped"])
    assert "('cancelled', 'rest', 'admin')" in audited
    assert "('helped', 'rest', 'admin')" in audited
    assert "('renewed', 'command', 'lingma_login')" in audited
    assert "('renewed', 'console', 'admin')" in audited


def test_closed_terminal_ends_its_attempt(anew):
    env = environment(anew.gateway.data_dir, **anew._settings)
    streams = {"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    process = Process("manage", "lingma_login", "main", "--browser", cwd=ROOT, env=env, **streams)
    try:
        assert any(line.startswith("Log in at ") for line in process.stderr)
        process.send_signal(signal.SIGHUP)
        assert process.communicate(timeout=60)[1].strip().endswith("CommandError: cancelled")
    finally:
        process.kill()
    assert (process.returncode, anew.latest()["state"]) == (1, "cancelled")
    assert list((anew.gateway.data_dir / "logins").iterdir()) == []


def test_command_says_what_went_wrong(anew, tmp_path):
    (tmp_path / "keys").write_text("key\nsecret\n")
    wrong = anew.commanded("lingma_login", "other", "--device", stdin='{"token": ""}')
    assert re.fullmatch(r"refused: .*token, refreshToken or userId is missing\.", wrong)
    tokens = json.dumps({"token": "pt-1", "refreshToken": "rt-1", "userId": "42", "username": "ann"})
    assert anew.commanded("lingma_login", "other", "--device", stdin=tokens) == "other: generation 1"
    assert anew.commanded("lingma_login", "keys", "--ak-sk-file", tmp_path / "keys") == "keys: generation 1"
    assert anew.manage("lingma_login", "nobody", "--auto", code=1).stderr.startswith("CommandError: There is no login")
