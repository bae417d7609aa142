"""A gateway whose instances are given logins: by command, while turns run, over several processes."""

import json
import stat
import sys
import threading

import pytest

from tests.bridge.logins.files import DAY, write_login
from tests.e2e.formats import OPENAI, send
from tests.e2e.installation import ROOT, Gateway, django, environment, patiently
from tests.prepared import manage

WRAPPER = """#!/bin/sh
cd {root} && exec {python} -m bridge.simulator "$@" --renewal=never
"""
FACTS = """
import json
from bridge.models import Login
print(json.dumps(list(Login.objects.values("label", "generation", "account", "problem"))))
"""
ASSIGNED = """
from bridge.models import InstanceOrder
print(dict(InstanceOrder.objects.values_list("name", "login__label")))
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """A Lingma that nobody is logged in to."""
    path = tmp_path_factory.mktemp("theirs") / "Lingma"
    path.write_text(WRAPPER.format(root=ROOT, python=sys.executable))
    path.chmod(0o755)
    return str(path)


def lingma_login(gateway, *arguments):
    arguments = [str(each) for each in arguments]
    return django(
        gateway.data_dir, f"from django.core.management import call_command\ncall_command('lingma_login', *{arguments})"
    )


def by_command_line(gateway, *arguments):
    done = manage("lingma_login", *arguments, env=environment(gateway.data_dir))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def facts(gateway):
    return json.loads(django(gateway.data_dir, FACTS))[0]


def account(gateway, instance="w1-i1"):
    return json.loads(gateway.login(instance) or "{}").get("name")


def ready(gateway):
    return send(gateway, "GET", "/readyz").status == 200


def test_login_is_given_changed_and_stored_again(tmp_path, template, program):
    with Gateway(tmp_path / "data", template, wait=False, LINGMA_BIN=program) as gateway:
        patiently(lambda: b"not logged in to Lingma" in send(gateway, "GET", "/readyz").body)
        said = by_command_line(gateway, "main", "--bundle", write_login(tmp_path / "a", days=1), "--instances=w1-i1")
        assert said == "main: generation 1, on w1-i1"
        patiently(lambda: ready(gateway))
        assert gateway.ask(OPENAI, "[[sim: text=hello]] x").text == "hello"
        assert stat.S_IMODE((gateway.work_dir() / "cache" / "user").stat().st_mode) == 0o600

        # Another login comes while a turn runs: it is finished, and nobody waits for the new one.
        answers = {}

        def ask(name, prompt):
            answers[name] = gateway.ask(OPENAI, prompt, stream=True)

        long = threading.Thread(target=ask, args=("long", "[[sim: text=whole chunks=60 delay_ms=50]] of-long"))
        long.start()
        patiently(lambda: gateway.asks("of-long"))
        lingma_login(gateway, "main", "--bundle", write_login(tmp_path / "b", "bob", "machine-2", days=1))
        patiently(lambda: account(gateway) == "bob")
        assert gateway.ask(OPENAI, "[[sim: text=next]] x").text == "next"
        long.join(60)
        assert (answers["long"].status, answers["long"].text) == (200, "whole")
        assert account(gateway) == "bob"

        # The service renews it: that is the third generation.
        gateway.control(renewal="works", renewal_sec=2 * DAY)
        patiently(lambda: facts(gateway)["generation"] == 3, every=0.5)
        assert facts(gateway) == {"label": "main", "generation": 3, "account": "logged_in", "problem": ""}
        logged = gateway.output()
    assert [secret for secret in ("pt-secret", "rt-secret", "machine-1", "machine-2") if secret in logged] == []


def test_new_instance_is_given_login_where_set(tmp_path, template, program):
    settings = {"LINGMA_BIN": program, "WEB_PROCESSES": "2"}
    with Gateway(tmp_path / "data", template, wait=False, **settings) as gateway, gateway.redis() as client:

        def state(name):
            return json.loads(client.get(f"lgw:instance:{name}") or "{}").get("state")

        patiently(lambda: state("w1-i1") == "login_required")
        lingma_login(gateway, "main", "--bundle", write_login(tmp_path / "a", days=1))
        gateway.processes.append(gateway.start(2, LOGINS_SPREAD="true"))
        patiently(lambda: state("w2-i1") == "ready")
        # By whichever process it comes: the one has no login, and has the other's.
        patiently(lambda: gateway.ask(OPENAI, "[[sim: text=hello]] x").text == "hello")
        assert django(gateway.data_dir, ASSIGNED) == "{'w2-i1': 'main'}"
        assert state("w1-i1") == "login_required"


def test_turns_wait_for_login_that_is_given(tmp_path, template, program):
    settings = {"LINGMA_BIN": program, "WEB_PROCESSES": "2", "QUEUE_TIMEOUT_SEC": "60"}
    with Gateway(tmp_path / "data", template, wait=False, **settings) as gateway:
        patiently(lambda: b"not logged in to Lingma" in send(gateway, "GET", "/readyz").body)
        lingma_login(gateway, "main", "--bundle", write_login(tmp_path / "a", days=1))
        gateway.processes[0].terminate()
        gateway.processes[0].wait(60)
        gateway.processes.append(gateway.start(2, LOGINS_SPREAD="true"))
        # From its first moment on, also while its instance is not logged in.
        answers = []
        while not answers or (answers[-1] == (200, "hello") and not ready(gateway)):
            answer = gateway.ask(OPENAI, "[[sim: text=hello]] x")
            answers.append((answer.status, answer.text))
        assert set(answers) == {(200, "hello")}


def test_login_is_shared_by_processes(tmp_path, template, program):
    with Gateway(tmp_path / "data", template, processes=2, wait=False, LINGMA_BIN=program) as gateway:
        names = ("w1-i1", "w2-i1")
        patiently(lambda: all((gateway.work_dir(name) / "cache" / "id").exists() for name in names))
        with gateway.redis() as client:
            patiently(lambda: all(client.exists(f"lgw:instance:{name}") for name in names))

            def beats():
                return [json.loads(client.get(f"lgw:instance:{name}") or "{}") for name in names]

            lingma_login(gateway, "main", "--bundle", write_login(tmp_path / "a", days=1), "--instances=w1-i1,w2-i1")
            patiently(lambda: all(each.get("login") for each in beats()))
            pid = beats()[0]["pid"]
            gateway.control("w1-i1", renewal="works", renewal_sec=2 * DAY)
            patiently(lambda: [each.get("login_generation") for each in beats() if each.get("login")] == [2, 2])
            # What one has renewed the other takes over; the one goes on.
            assert beats()[0]["pid"] == pid
        patiently(lambda: gateway.login(names[0]) == gateway.login(names[1]) != b"")
        assert facts(gateway)["generation"] == 2
