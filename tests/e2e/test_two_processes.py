"""Two web processes on one socket: keys, metrics and sessions are one."""

import http.client
import json
import re
import time
from contextlib import contextmanager
from itertools import count, cycle, permutations, product

import msgspec
import pytest

from gateway_project.lib.degraded import Mode
from gateway_project.lib.redis import redis_keys
from tests.e2e.fixtures import reached_by
from tests.e2e.formats import ANTHROPIC, FORMATS, OPENAI, Stream, exchange, send
from tests.e2e.installation import KEY, METRICS_KEY, REVOCABLE_KEYS, django, limited_key, until
from tests.e2e.watching import watching

REVOKE = """
import time
from django.conf import settings
from gateway_project.lib.secrets.key_secret import digest_of
from accounts.models import ApiKey
asked = ApiKey.objects.filter(digest=digest_of({secret!r}, settings.KEY_PEPPER))
{how}
print(time.time())
"""


def connections(gateway, key):
    """A kept connection to each process that has served this key already."""
    return list(by_instance(gateway, key).values())


def by_instance(gateway, key):
    """The same, by the instance of each."""
    found = {}
    while len(found) < 2:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
        answer = exchange(connection, "POST", OPENAI.path, key=key, body=OPENAI.body("[[sim: text=x]] x"))
        if found.setdefault(answer.headers["x-lingma-instance"], connection) is not connection:
            connection.close()
    return found


WITHIN = 10.0
"""Seconds: far fewer than until a key is read again that nobody has told of. It takes milliseconds, on a busy machine
more."""


@pytest.mark.parametrize(
    ("secret", "how"),
    [(REVOCABLE_KEYS[0], "asked.revoke()"), (REVOCABLE_KEYS[1], "asked.get().delete()")],
    ids=["revoked", "deleted"],
)
def test_revoked_key_is_soon_worthless_everywhere(twins, secret, how, record_property):
    kept = connections(twins, secret)
    taken_away_at = float(django(twins.data_dir, REVOKE.format(secret=secret, how=how)))
    for connection in kept:

        def status(connection=connection):
            return exchange(connection, "GET", "/v1/models", key=secret).status

        until(lambda status=status: status() == 401, WITHIN, every=0.01)
        connection.close()
    record_property("ms until both know (asked: 1,000)", round((time.time() - taken_away_at) * 1000))
    assert {send(twins, "GET", "/v1/models", key=secret).status for _ in range(10)} == {401}


OWN_MODEL = "dashscope_qmodel"
"""No other test asks these processes for it."""


def counted(gateway):
    """Turns of the model, by the metrics."""
    answer = send(gateway, "GET", "/metrics", key=METRICS_KEY)
    pattern = rf'^lingma_gateway_requests_total\{{.*model="{OWN_MODEL}".*\}} (\S+)$'
    return sum(map(float, re.findall(pattern, answer.body.decode(), re.MULTILINE)))


def test_metrics_are_those_of_both(twins):
    answers = []

    def asked_both():
        answers.append(twins.ask(OPENAI, "[[sim: text=x]] x", model=OWN_MODEL))
        return len(answers) >= 20 and {answer.headers["x-lingma-instance"] for answer in answers} == {"w1-i1", "w2-i1"}

    until(asked_both)
    # Either process may answer, and each tells what both have counted.
    assert until(lambda: {counted(twins) for _ in range(6)} == {len(answers)})
    assert {answer.headers["x-request-id"] for answer in answers} <= twins.rows().keys()


@pytest.fixture
def acquainted(twins):
    """Each process has heard what the other holds: those that have just started do not know each other yet."""
    kept = connections(twins, KEY)
    for here, there in permutations(kept):
        until(lambda here=here, there=there: known(here, there))
    for connection in kept:
        connection.close()
    return twins


def known(here, there):
    """Whether what one process begins goes on in its session when it comes to the other."""
    conversation = Conversation(OPENAI, stream=False)
    conversation.go_on(here)
    return conversation.go_on(there)[2] == "reused"


def test_a_conversation_keeps_its_session_in_either_process(acquainted):
    twins, begun_by = acquainted, set()
    while begun_by != {"w1-i1", "w2-i1"}:
        question = f'[[sim: text="an answer"]] to either process {len(begun_by)}'
        begun = twins.ask(OPENAI, question)
        begun_by.add(begun.headers["x-lingma-instance"])
        for number in range(8):
            messages = [{"role": "user", "content": question}, {"role": "assistant", "content": begun.text}]
            question = [*messages, {"role": "user", "content": f'[[sim: text="an answer"]] go on {number}'}]
            answer = twins.ask(ANTHROPIC, question)
            assert answer.headers["x-lingma-session"] == "reused"
            assert answer.headers["x-lingma-instance"] == begun.headers["x-lingma-instance"]
            question = f'[[sim: text="an answer"]] to either process {begun_by} {number}'
            begun = twins.ask(OPENAI, question)
            begun_by.add(begun.headers["x-lingma-instance"])


ORDER = "from django.core.management import call_command; call_command('pool', {!r}, {!r})"


@contextmanager
def drained(gateway, name):
    """The instance is told to drain, and takes turns again in the end."""

    def state():
        with gateway.redis() as client:
            return json.loads(client.get(redis_keys.INSTANCE + name))["state"]

    django(gateway.data_dir, ORDER.format("drain", name))
    try:
        yield
    finally:
        django(gateway.data_dir, ORDER.format("start", name))
        until(lambda: state() == "ready")


class Conversation:
    """Each turn goes on with all that was said."""

    numbers = count()

    def __init__(self, wire, stream):
        self._wire, self._stream, self._number = wire, stream, next(self.numbers)
        self._messages = []

    def go_on(self, connection):
        """What became of the next turn: status, error, session and instance."""
        prompt = f'[[sim: text="an answer"]] drained {self._number}, {len(self._messages)}'
        self._messages.append({"role": "user", "content": prompt})
        body = self._wire.body(self._messages, stream=self._stream)
        answer = exchange(connection, "POST", self._wire.path, key=KEY, body=body)
        self._messages.append({"role": "assistant", "content": answer.text})
        return answer.status, answer.error, answer.headers["x-lingma-session"], answer.headers["x-lingma-instance"]


def test_drained_session_is_rebuilt_in_another_process(twins, wire, stream):
    """Turn follows turn while the order takes effect; each is answered, in the session or in a new one."""
    (holder, here), (other, there) = by_instance(twins, KEY).items()
    stays, moves = (200, None, "reused", holder), (200, None, "rebuilt", other)

    def begun():
        """Processes that have just started do not know each other yet."""
        conversation = Conversation(wire, stream)
        conversation.go_on(here)
        return conversation if conversation.go_on(there) == stays else None

    conversation = until(begun)

    def moved():
        found = conversation.go_on(there)
        assert found in (stays, moves)
        return found == moves

    with drained(twins, holder):
        until(moved)
        assert conversation.go_on(here) == conversation.go_on(there) == (200, None, "reused", other)
    for connection in (here, there):
        connection.close()


def test_client_that_waits_needs_one_place(twins):
    """Its key allows one turn at once. Each is answered by the other process, and next comes one that fails there."""
    key = limited_key("concurrency")
    here, there = connections(twins, key)

    def ask(connection, wire, prompt, stream):
        return exchange(connection, "POST", wire.path, key=key, body=wire.body(prompt, stream=stream))

    ways = cycle(product(FORMATS, (False, True)))
    answers, reused = [], 0
    for number in range(70):
        wire, stream = next(ways)
        question = f'[[sim: text="an answer"]] one at a time {number}'
        begun = ask(there, OPENAI, question, stream)
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": begun.text}]
        messages.append({"role": "user", "content": '[[sim: text="an answer"]] go on'})
        continued = ask(here, wire, messages, stream)
        reused += continued.headers.get("x-lingma-session") == "reused"
        failed = ask(here, wire, "[[sim: fault=finish_code after=0 finish=500]] x", stream)
        answers += [begun, continued, failed]
    assert [each.status for each in answers if each.status == 429 or "concurrency" in each.body.decode()] == []
    assert reused > 60
    for connection in (here, there):
        connection.close()


def test_each_process_has_work_dirs_of_its_own(twins):
    assert twins.lingma("w1-i1").pid != twins.lingma("w2-i1").pid


def test_live_page_shows_both_processes(twins):
    prompt = '[[sim: text="first second" chunks=2 delay_ms=20000]] x'
    with Stream(twins, OPENAI, prompt, key=KEY) as one, Stream(twins, OPENAI, prompt, key=KEY) as two:
        for each in (one, two):
            each.until(b"first")
        with watching(twins) as found:
            # A process whose report is not there yet is known by its heartbeats, which tell of no memory.
            snapshot = found(
                lambda it: (
                    (it["in_flight"], len(it["turns"]), sum(each["memory"] > 0 for each in it["processes"]))
                    == (2, 2, 2)
                )
            )
    assert {each["id"] for each in snapshot["turns"]} == {one.request_id, two.request_id}
    assert {each["key_name"] for each in snapshot["turns"]} == {"alice"}
    assert [each["name"] for each in snapshot["processes"]] == ["web-1", "web-2"]
    assert [each["name"] for each in snapshot["instances"]] == ["w1-i1", "w2-i1"]
    assert min(each["memory"] for each in snapshot["processes"]) > 10 << 20


def test_killed_process_ends_the_whole_gateway(twins):
    lingma = twins.lingma("w2-i1")
    twins.processes[1].kill()
    assert until(lambda: not lingma.is_running() or lingma.status() == "zombie")
    assert {reached_by(twins) for _ in range(10)} == {"w1-i1"}
    twins.processes[1].wait()
    assert send(twins, "GET", "/v1/models", key=KEY).status == 200


WORKER = f"{redis_keys.MODES}worker"


@pytest.mark.parametrize("name", ["ledger", "limits"])
def test_mode_of_another_process_is_shown(twins, name):
    """In the metrics of the two, and on the live page, until it is over."""
    line = f'lingma_gateway_degraded{{mode="{name}"}} '

    def counted(value):
        return f"\n{line}{value}\n" in send(twins, "GET", "/metrics", key=METRICS_KEY).body.decode()

    with twins.redis() as client, watching(twins) as found:
        client.set(WORKER, msgspec.json.encode([Mode(name, "a test", time.time())]), ex=120)
        assert until(lambda: counted("1.0"))
        assert found(lambda each: name in [mode["name"] for mode in each["modes"]])
        client.set(WORKER, b"[]", ex=120)
        assert until(lambda: counted("0.0"))
        assert found(lambda each: name not in [mode["name"] for mode in each["modes"]])
