"""What operators order of instances, in two web processes at once; and a pause that holds for what starts later."""

import http.client
import json
import time

import pytest

from bridge.fleet.orders import Action
from tests.bridge.lingma.test_vsix import simulator
from tests.e2e.formats import ANTHROPIC, OPENAI, send
from tests.e2e.installation import Gateway, django, until
from tests.e2e.test_log_in_anew import login_worker

TOKEN = """
from django.contrib.auth.models import User
from accounts.api.tokens import issue
print(issue(User.objects.get(username="admin"), None, []))
"""
ASKED_SEC = 2
"""How soon an action is to have an effect in every process. Told beside what it took, not asserted: a busy machine
takes longer."""
PATIENCE_SEC = 120.0
"""Of a busy machine, where services log in and take over one after the other."""
VERSION = "2.11.7"
COMMAND = "from django.core.management import call_command; call_command(*{!r})"


class Pair:
    """A gateway of two web processes that a third may join, and how instances are ordered about there."""

    def __init__(self, gateway):
        self.gateway = gateway
        self._token = django(gateway.data_dir, TOKEN).strip()

    def beats(self):
        """What each instance tells of itself."""
        with self.gateway.redis() as client:
            found = [client.get(key) for key in client.keys("lgw:instance:*")]
        return {beat["name"]: beat for beat in map(json.loads, filter(None, found))}

    def command(self, *arguments):
        django(self.gateway.data_dir, COMMAND.format([str(each) for each in arguments]))

    def order(self, action, **more):
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=60)
        headers = {"Authorization": f"Token {self._token}", "Content-Type": "application/json"}
        connection.request("POST", "/api/instances/all/actions/", json.dumps({"action": action, **more}), headers)
        answer = connection.getresponse()
        body = json.loads(answer.read())
        connection.close()
        assert answer.status == 202, body
        return body["instances"]

    def are(self, state, names):
        """Whether these are all there are, each in that state."""
        beats = self.beats()
        return set(beats) == names and all(beat["state"] == state for beat in beats.values())

    def is_settled(self, action):
        """What was begun has come to its end, so that the next one is seen by itself."""
        ends = {"stop": "stopped", "start": "ready", "restart": "ready", "relogin": "ready", "move": "ready"}
        beats = self.beats().values()
        return action not in ends or all(each["state"] == ends[action] and not each["replacing"] for each in beats)


@pytest.fixture(scope="module")
def pair(tmp_path_factory, template):
    data_dir = tmp_path_factory.mktemp("orders")
    with Gateway(data_dir, template, processes=2, WEB_PROCESSES="3") as running:
        found = Pair(running)
        until(lambda: found.are("ready", {"w1-i1", "w2-i1"}), PATIENCE_SEC)
        yield found
    assert running.left_behind == []


@pytest.fixture(scope="module")
def shared_login(pair, tmp_path_factory):
    """One that both instances have, and the worker that makes it anew."""
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text("token-1\n")
    pair.command("lingma_login", "main", "--token-file", token, "--instances", "w1-i1,w2-i1")
    until(lambda: all(each["login_generation"] == 1 for each in pair.beats().values()), PATIENCE_SEC)
    until(lambda: pair.is_settled("relogin"), PATIENCE_SEC)
    with login_worker(pair.gateway.data_dir, {}):
        yield


@pytest.fixture(scope="module")
def second_version(pair, tmp_path_factory):
    pair.command("lingma_install", simulator(tmp_path_factory.mktemp("version"), VERSION))


def begun_later(before, beat):
    """A successor is started, or has taken over."""
    return beat["replacing"] or beat["generation"] > before["generation"]


EFFECTS = (
    ("drain", lambda _, beat: beat["state"] == "draining"),
    ("start", lambda _, beat: beat["state"] == "ready"),
    ("stop", lambda _, beat: beat["state"] in ("draining", "stopped")),
    ("start", lambda _, beat: beat["state"] in ("starting", "ready")),
    ("cool", lambda _, beat: beat["state"] == "cooling"),
    ("clear", lambda _, beat: beat["state"] == "ready"),
    ("smoke", lambda before, beat: beat["smoke"] and beat["smoke"] != before["smoke"]),
    ("restart", begun_later),
    ("relogin", lambda before, beat: beat["login_generation"] > before["login_generation"]),
    ("move", lambda before, beat: beat["version"] == VERSION and beat["generation"] > before["generation"]),
)
"""Each action, and how its effect looks."""
MADE_ANEW = ("relogin", "move")
"""Their effect is seen when successors have proved themselves, which takes as long as it takes."""
MORE = {"move": {"version": VERSION}}


def seconds_until(pair, action, is_done):
    """How long it takes from the order until every instance shows its effect."""
    before, began = pair.beats(), time.monotonic()
    assert pair.order(action, **MORE.get(action, {})) == sorted(before)
    until(lambda: all(is_done(before[name], beat) for name, beat in pair.beats().items()), PATIENCE_SEC)
    took = time.monotonic() - began
    until(lambda: pair.is_settled(action), PATIENCE_SEC)
    return took


def test_actions_take_effect_in_both_processes(pair, shared_login, second_version):
    took = [(seconds_until(pair, action, is_done), action) for action, is_done in EFFECTS]
    longest, action = max(each for each in took if each[1] not in MADE_ANEW)
    print(f"longest until an action was seen in every process: {longest:.2f} s, {action} (asked: {ASKED_SEC} s)")
    # It is told a number, and a test of its own has it.
    assert {action for _, action in took} == {*Action} - {Action.SIZE}


def refusals(gateway):
    """The answers to a turn in each protocol."""
    return [gateway.ask(wire, "[[sim: text=x]] x") for wire in (OPENAI, ANTHROPIC)]


def test_pause_holds_for_processes_started_later(pair):
    gateway, names = pair.gateway, {"w1-i1", "w2-i1"}
    assert pair.order("drain") == sorted(names)
    until(lambda: pair.are("draining", names))
    gateway.processes.append(gateway.start(3))
    names.add("w3-i1")
    until(lambda: pair.are("draining", names), PATIENCE_SEC)
    answers = refusals(gateway)
    assert [answer.status for answer in answers] == [503, 503]
    assert {answer.error["message"] for answer in answers} == {"The operators of this gateway have paused it."}
    assert [answer.error["type"] for answer in answers] == ["service_unavailable_error", "overloaded_error"]
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
    there = send(gateway, "GET", "/readyz").json()["instances"]
    assert {each["reason"] for each in there} == {"held by order of an operator"}
    pair.order("start")
    until(lambda: pair.are("ready", names))
    assert [answer.status for answer in refusals(gateway)] == [200, 200]
