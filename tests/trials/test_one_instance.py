"""A gateway with the one instance of its defaults, under constant load: nobody is refused for what mends itself."""

import itertools
import json
import subprocess
import sys
import time

import pytest

from tests.bridge.logins.files import write_login
from tests.e2e.formats import ANTHROPIC, OPENAI, send
from tests.e2e.installation import KEY, ROOT, Gateway, environment, until
from tests.e2e.test_logins import WRAPPER, lingma_login
from tests.trials.clients import Clients

STREAMS = 6
PROMPT = "[[sim: text=whole chunks=4 first_ms=20 delay_ms=20]] go on"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """A Lingma that nobody is logged in to."""
    path = tmp_path_factory.mktemp("theirs") / "Lingma"
    path.write_text(WRAPPER.format(root=ROOT, python=sys.executable))
    path.chmod(0o755)
    return str(path)


class Load(Clients):
    """Turns without a pause, by six clients at once: streams of both protocols, and some that are not streamed."""

    def __init__(self, gateway):
        super().__init__(STREAMS)
        self.answers = []
        self._gateway = gateway

    def ask(self, number):
        wire, stream = (OPENAI, ANTHROPIC)[number % 2], number < STREAMS - 2
        for turn in itertools.count():
            if self.ends.is_set():
                return
            began = time.monotonic()
            answer = self._gateway.ask(wire, f"{PROMPT} {number}-{turn}", stream=stream)
            self.answers.append((time.monotonic() - began, answer, stream))

    def goes_on(self, turns=3 * STREAMS):
        """Until so many more have ended."""
        wanted = len(self.answers) + turns
        until(lambda: len(self.answers) >= wanted, seconds=90)


def beat(gateway, name="w1-i1"):
    with gateway.redis() as client:
        return json.loads(client.get(f"lgw:instance:{name}") or "{}")


def pool(gateway, *arguments):
    command = [sys.executable, "manage.py", "pool", *arguments]
    subprocess.run(command, cwd=ROOT, env=environment(gateway.data_dir), check=True, capture_output=True, timeout=60)


def replaced(gateway, pid, name="w1-i1"):
    return lambda: beat(gateway, name).get("pid", pid) not in (0, pid) and not beat(gateway, name)["replacing"]


def dropped(gateway, _folder):
    before = beat(gateway)["generation"], gateway.output().count("connecting again")
    gateway.control(turns=[{"fault": "drop", "after": 0}])
    until(lambda: gateway.output().count("connecting again") > before[1])
    gateway.control()
    assert beat(gateway)["generation"] == before[0]


def crashed(gateway, _folder):
    pid = beat(gateway)["pid"]
    gateway.lingma().kill()
    until(replaced(gateway, pid))


def logged_in_anew(gateway, folder):
    pid = beat(gateway)["pid"]
    lingma_login(gateway, "main", "--bundle", write_login(folder, "bob", "machine-2", days=1))
    until(replaced(gateway, pid))
    assert beat(gateway)["login_generation"] == 2


def restarted(gateway, _folder):
    pid = beat(gateway)["pid"]
    pool(gateway, "restart", "all")
    until(replaced(gateway, pid))


ASKED = {dropped: "below 1 s", crashed: "below 5 s", logged_in_anew: "as before"}
"""What each may cost a request. Told beside what it took, and not asserted: a busy machine takes longer."""


@pytest.mark.parametrize("harm", [dropped, crashed, logged_in_anew, restarted], ids=lambda harm: harm.__name__)
def test_turns_never_fail_before_first_byte(tmp_path, template, program, harm):
    with Gateway(tmp_path / "data", template, wait=False, LINGMA_BIN=program) as gateway:
        until(lambda: beat(gateway).get("state") == "login_required")
        lingma_login(gateway, "main", "--bundle", write_login(tmp_path / "a", days=1), "--instances=w1-i1")
        until(lambda: beat(gateway).get("state") == "ready")
        with Load(gateway) as load:
            load.goes_on()
            usual, count = max(seconds for seconds, _, _ in load.answers), len(load.answers)
            harm(gateway, tmp_path / "b")
            load.goes_on()
        assert beat(gateway)["last_error"] == ""
    longest = max(seconds for seconds, _, _ in load.answers[count:])
    asked = f" (asked: {ASKED[harm]})" if harm in ASKED else ""
    told = f"{len(load.answers) - count} turns, longest after {harm.__name__} {longest:.2f} s"
    print(f"{told}{asked}, {usual:.2f} s before")
    assert [answer.body for _, answer, _ in load.answers if answer.status != 200] == []
    errors = [answer for _, answer, _ in load.answers if answer.error or answer.text != "whole"]
    # What streamed on a process or a connection that is lost ends with an error; nothing else does.
    assert [answer.body for answer in errors if not answer.text] == []
    assert len(errors) <= (STREAMS if harm in (dropped, crashed) else 0)


def test_restart_in_two_processes_costs_no_turn(tmp_path, template):
    names = ("w1-i1", "w2-i1")
    with Gateway(tmp_path / "data", template, processes=2) as gateway:
        until(lambda: all(beat(gateway, name).get("state") == "ready" for name in names))
        pids = {name: beat(gateway, name)["pid"] for name in names}
        with Load(gateway) as load:
            load.goes_on()
            pool(gateway, "restart", "all")
            until(lambda: all(replaced(gateway, pids[name], name)() for name in names))
            load.goes_on()
        assert [(answer.status, answer.body) for _, answer, _ in load.answers if answer.text != "whole"] == []
        # What each of them tells of itself goes on under its name.
        assert [beat(gateway, name)["restarts"] for name in names] == [0, 0]
        with gateway.redis() as client:
            steps = [json.loads(each)["why"] for each in client.lrange("lgw:timeline:w2-i1", 0, -1)]
        assert steps[:2] == ["replaced", "replacing"]


def test_conversation_goes_on_after_restart(tmp_path, template):
    with Gateway(tmp_path / "data", template) as gateway:
        first = gateway.ask(OPENAI, "[[sim: text=one]] begin", stream=True)
        assert first.headers["x-lingma-session"] == "new"
        pid = beat(gateway)["pid"]
        pool(gateway, "restart", "w1-i1")
        until(replaced(gateway, pid))
        messages = [
            {"role": "user", "content": "[[sim: text=one]] begin"}, {"role": "assistant", "content": "one"},
            {"role": "user", "content": "[[sim: text=two]] go on"},
        ]  # fmt: skip
        again = send(gateway, "POST", OPENAI.path, key=KEY, body={"model": "org_auto", "messages": messages})
        assert (again.status, again.headers["x-lingma-session"]) == (200, "rebuilt")
        assert again.json()["choices"][0]["message"]["content"] == "two"
