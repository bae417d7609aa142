"""A gateway with the one instance of its defaults, under constant load: nobody is refused for what mends itself."""

import itertools
import json
import subprocess
import sys
import threading
import time

import pytest

from tests.bridge.logins.files import write_login
from tests.e2e.formats import ANTHROPIC, OPENAI
from tests.e2e.installation import ROOT, Gateway, environment, until
from tests.e2e.test_logins import WRAPPER, lingma_login

STREAMS = 6
PROMPT = "[[sim: text=whole chunks=4 first_ms=20 delay_ms=20]] go on"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """A Lingma that nobody is logged in to."""
    path = tmp_path_factory.mktemp("theirs") / "Lingma"
    path.write_text(WRAPPER.format(root=ROOT, python=sys.executable))
    path.chmod(0o755)
    return str(path)


class Load:
    """Turns without a pause, by six clients at once: streams of both protocols, and some that are not streamed."""

    def __init__(self, gateway):
        self.answers = []
        self._gateway = gateway
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(STREAMS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._ends.set()
        for thread in self._threads:
            thread.join(90)

    def _ask(self, number):
        wire, stream = (OPENAI, ANTHROPIC)[number % 2], number < STREAMS - 2
        for turn in itertools.count():
            if self._ends.is_set():
                return
            began = time.monotonic()
            answer = self._gateway.ask(wire, f"{PROMPT} {number}-{turn}", stream=stream)
            self.answers.append((time.monotonic() - began, answer, stream))

    def goes_on(self, turns=3 * STREAMS):
        """Until so many more have ended."""
        wanted = len(self.answers) + turns
        until(lambda: len(self.answers) >= wanted, seconds=90)


def beat(gateway):
    with gateway.redis() as client:
        return json.loads(client.get("lgw:instance:w1-i1") or "{}")


def pool(gateway, *arguments):
    command = [sys.executable, "manage.py", "pool", *arguments]
    subprocess.run(command, cwd=ROOT, env=environment(gateway.data_dir), check=True, capture_output=True, timeout=60)


def replaced(gateway, pid):
    return lambda: beat(gateway).get("pid", pid) not in (0, pid) and not beat(gateway)["replacing"]


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


@pytest.mark.parametrize("harm", [dropped, crashed, logged_in_anew, restarted], ids=lambda harm: harm.__name__)
def test_no_turn_fails_before_first_byte(tmp_path, template, program, harm):
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
    print(f"{harm.__name__}: {len(load.answers) - count} turns, the longest {longest:.2f} s, {usual:.2f} s before")
    assert [answer.body for _, answer, _ in load.answers if answer.status != 200] == []
    errors = [answer for _, answer, _ in load.answers if answer.error or answer.text != "whole"]
    # What streamed on a process or a connection that is lost ends with an error; nothing else does.
    assert [answer.body for answer in errors if not answer.text] == []
    assert len(errors) <= (STREAMS if harm in (dropped, crashed) else 0)
