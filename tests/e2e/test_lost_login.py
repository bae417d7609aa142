"""A gateway of one instance whose login is lost: turns wait where it makes itself again, and nowhere else."""

import json
import sys
import threading
from functools import partial

import pytest

from tests.bridge.logins.files import write_login
from tests.e2e.formats import ANTHROPIC, OPENAI, send
from tests.e2e.installation import ROOT, Gateway, django, patiently, until
from tests.e2e.test_log_in_anew import WRAPPER, login_worker
from tests.e2e.test_logins import lingma_login
from tests.e2e.test_waiting import queue_length

CLIENTS = 4
# Longer than a client of these tests waits: who is not refused at once is not answered in time.
SETTINGS = {"QUEUE_TIMEOUT_SEC": "120", "KEEPALIVE_SEC": "1"}
LATEST = """
from bridge.models import LoginAttempt
print([(each.reason, each.result) for each in LoginAttempt.objects.all()[:1]])
"""
STOPPED = """
from bridge.models import Login
from bridge.models.order import announce_orders
Login.objects.update(failures=3)
announce_orders()
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """A Lingma that nobody is logged in to."""
    folder = tmp_path_factory.mktemp("theirs")
    path = folder / "Lingma"
    path.write_text(WRAPPER.format(root=ROOT, python=sys.executable, starts=folder / "starts"))
    path.chmod(0o755)
    return str(path)


def state(gateway, instance="w1-i1"):
    with gateway.redis() as client:
        return json.loads(client.get(f"lgw:instance:{instance}") or "{}").get("state")


def given(gateway, *arguments, instances=("w1-i1",)):
    patiently(lambda: all((gateway.work_dir(each) / "cache" / "id").exists() for each in instances))
    lingma_login(gateway, "main", *arguments, f"--instances={','.join(instances)}")
    patiently(lambda: send(gateway, "GET", "/readyz").status == 200)
    # Before that the heartbeat may be of the service that had no login.
    patiently(lambda: all(state(gateway, each) == "ready" for each in instances))


def token_file(folder):
    path = folder / "token"
    path.write_text("token-1\n")
    return path


class Asking:
    """Turns without a pause by a few clients, as a context."""

    def __init__(self, gateway):
        self.answers = []
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(gateway, each)) for each in range(CLIENTS)]

    def _ask(self, gateway, number):
        while not self._ends.is_set():
            wire, stream = (OPENAI, ANTHROPIC)[number % 2], number < CLIENTS // 2
            answer = gateway.ask(wire, "[[sim: text=whole chunks=4 delay_ms=20]] go on", stream=stream)
            self.answers.append((answer.status, answer.text))

    def goes_on(self):
        wanted = len(self.answers) + 3 * CLIENTS
        patiently(lambda: len(self.answers) >= wanted)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._ends.set()
        for thread in self._threads:
            thread.join(90)


@pytest.mark.parametrize("told", [{"login": "out"}, {"turns": [{"fault": "logout", "after": 0}]}], ids=["push", "turn"])
def test_login_that_makes_itself_again_costs_no_turn(tmp_path, template, program, told):
    settings = {"LINGMA_BIN": program, "LOGIN_TIMEOUT_SEC": "120", "KEEPALIVE_SEC": "1"}
    with Gateway(tmp_path / "data", template, wait=False, **settings) as gateway:
        given(gateway, "--token-file", token_file(tmp_path))
        pid = gateway.lingma().pid
        with login_worker(gateway.data_dir, settings), Asking(gateway) as asking:
            asking.goes_on()
            gateway.control(**told)
            patiently(lambda: state(gateway) == "login_required")
            gateway.control()
            patiently(lambda: state(gateway) == "ready")
            asking.goes_on()
        assert gateway.lingma().pid != pid
        assert set(asking.answers) == {(200, "whole")}
        assert django(gateway.data_dir, LATEST) == "[('lost', 'logged_in')]"


def test_lost_login_of_many_instances_costs_no_turn(tmp_path, template, program):
    settings = {"LINGMA_BIN": program, "LOGIN_TIMEOUT_SEC": "120", "LINGMA_INSTANCES": "4", **SETTINGS}
    names = [f"w1-i{number}" for number in range(1, 5)]
    with Gateway(tmp_path / "data", template, wait=False, **settings) as gateway:
        given(gateway, "--token-file", token_file(tmp_path), instances=names)
        for name in names:
            gateway.control(name, turns=[{"fault": "logout", "after": 0}])
        answers = []
        # Signs of life come meanwhile, so its client waits for as long as it takes.
        turn = partial(gateway.ask, OPENAI, "[[sim: text=whole]] x", stream=True)
        asking = threading.Thread(target=lambda: answers.append(turn()))
        with login_worker(gateway.data_dir, settings):
            asking.start()
            # All have told this one turn so, and it waits.
            patiently(lambda: answers or {state(gateway, each) for each in names} == {"login_required"})
            for name in names:
                gateway.control(name)
            asking.join(90)
        assert [(each.status, each.text) for each in answers] == [(200, "whole")]


def test_login_for_a_person_is_refused_at_once(tmp_path, template, program):
    with Gateway(tmp_path / "data", template, wait=False, LINGMA_BIN=program, **SETTINGS) as gateway:
        given(gateway, "--bundle", write_login(tmp_path / "files", days=1))
        gateway.control(login="out")
        patiently(lambda: state(gateway) == "login_required")
        answer = gateway.ask(OPENAI, "x")
        assert (answer.status, b"login_required" in answer.body) == (503, True)


def test_waiting_turns_are_refused_after_last_failure(tmp_path, template, program):
    with Gateway(tmp_path / "data", template, wait=False, LINGMA_BIN=program, **SETTINGS) as gateway:
        given(gateway, "--token-file", token_file(tmp_path))
        gateway.control(login="out")
        patiently(lambda: state(gateway) == "login_required")
        answers = []
        waiting = threading.Thread(target=lambda: answers.append(gateway.ask(OPENAI, "x")))
        waiting.start()
        # There is no login worker: the attempt waits, and the turn for it.
        until(lambda: queue_length(gateway) == 1)
        django(gateway.data_dir, STOPPED)
        waiting.join(60)
        assert (answers[0].status, b"login_required" in answers[0].body) == (503, True)
