"""A prompt over which the service exits: it costs two instances once, and others nothing that can be saved."""

import itertools
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.formats import FORMATS, OPENAI, RESPONSES, Stream, send
from tests.e2e.installation import METRICS_KEY, OTHER_KEY, limited_key, until

POISON = "[[sim: fault=crash after={after}]] poison {name}"


@pytest.fixture(params=[*FORMATS, RESPONSES], ids=str)
def wire(request):
    return request.param


class Asked:
    """A gateway, asked with a key of its own: crashes of other tests are not its."""

    def __init__(self, gateway, name):
        self._gateway = gateway
        self.name = name
        self.key = limited_key(name)

    def ask(self, *args, **more):
        return self._gateway.ask(*args, **{"key": self.key, **more})

    def __getattr__(self, name):
        return getattr(self._gateway, name)


@pytest.fixture(scope="module")
def numbers():
    return itertools.count()


@pytest.fixture
def only(mortal, numbers):
    return Asked(mortal, f"crash-{next(numbers)}")


def count(gateway, what):
    answer = send(gateway, "GET", "/metrics", key=METRICS_KEY)
    name = f'lingma_gateway_crashing_prompts_total{{what="{what}"}}'
    return sum(float(line.split()[-1]) for line in answer.body.decode().splitlines() if line.startswith(name))


def is_refused(answer):
    """With a status that no agent repeats, or after a sign of life in the words of the format."""
    assert b"exits when it is asked this" in answer.body
    if answer.status == 400:
        assert answer.error["type"] == "invalid_request_error"
        assert answer.headers["x-should-retry"] == "false"
        assert "retry-after" not in answer.headers
    return answer.status == 400 or answer.streamed


def test_crashing_prompt_is_asked_twice_at_most(only, wire, stream):
    poison = POISON.format(after=0, name=f"{wire} {stream}")
    first = only.ask(wire, poison, stream=stream)
    assert is_refused(first)
    row = only.row(first.headers["x-request-id"])
    assert (row["status"], row["reason"], row["instance"]) == ("error", "crashing_prompt", "w1-i1")
    before = count(only, "refused")
    again = [only.ask(wire, poison, stream=stream) for _ in range(2)]
    assert [(each.status, is_refused(each)) for each in again] == [(400, True)] * 2
    assert count(only, "refused") == before + 2
    assert len(only.asks(poison)) == 2
    assert only.ask(wire, "[[sim: text=fine]] x").status == 200


def test_crashing_prompt_is_known_on_every_path(only):
    poison = POISON.format(after=0, name="path")
    assert all(is_refused(only.ask(each, poison)) for each in (*FORMATS, RESPONSES))
    assert len(only.asks(poison)) == 2


def test_same_words_with_other_tools_are_another_prompt(only):
    function = {"name": "read", "description": POISON.format(after=0, name="tool")}
    tools = [{"type": "function", "function": function}]
    assert is_refused(only.ask(OPENAI, "same words", tools=tools))
    assert only.ask(OPENAI, "same words").status == 200
    again = only.ask(OPENAI, "same words", tools=tools)
    assert (again.status, is_refused(again)) == (400, True)
    assert len(only.asks("poison tool")) == 2


def test_another_key_may_still_ask_it(only):
    poison = POISON.format(after=0, name="keys")
    assert is_refused(only.ask(OPENAI, poison))
    assert is_refused(only.ask(OPENAI, poison, key=OTHER_KEY))
    assert len(only.asks(poison)) == 4


def test_poison_that_began_to_answer_is_found_too(only):
    poison = POISON.format(after=1, name="late")
    answers = [only.ask(OPENAI, poison, stream=True) for _ in range(3)]
    assert [each.error["type"] for each in answers] == ["server_error", "server_error", "invalid_request_error"]
    assert len(only.asks(poison)) == 2


def test_bystanders_are_answered_and_not_blamed(only, stream):
    innocent = "[[sim: text=innocent first_ms=400]] with poison {stream} {number}"
    with ThreadPoolExecutor(8) as pool:
        asked = [
            pool.submit(only.ask, OPENAI, innocent.format(stream=stream, number=number), stream=stream)
            for number in range(5)
        ]
        until(lambda: len(only.asks(f"with poison {stream}")) == 5)
        poisoned = pool.submit(only.ask, OPENAI, POISON.format(after=0, name=f"crowd {stream}"), stream=stream)
        answers = [each.result() for each in asked]
    assert [(each.status, each.text) for each in answers] == [(200, "innocent")] * 5
    assert is_refused(poisoned.result())
    assert len(only.asks(f"crowd {stream}")) == 2
    again = [only.ask(OPENAI, innocent.format(stream=stream, number=number)) for number in range(5)]
    assert [each.status for each in again] == [200] * 5


def test_process_stopped_from_outside_blames_nobody_for_long(only):
    with ThreadPoolExecutor(4) as pool:
        asked = [
            pool.submit(only.ask, OPENAI, f"[[sim: text=whole first_ms=400]] outside {number}") for number in range(4)
        ]
        until(lambda: len(only.asks("outside")) == 4)
        only.lingma().kill()
        assert [each.result().status for each in asked] == [200] * 4
    refusals = [only.ask(OPENAI, f"[[sim: text=whole]] outside {number}").status for number in range(4)]
    assert refusals == [200] * 4


@pytest.mark.parametrize("first_ms", [0, 300], ids=["after the exit", "before it"])
def test_prompt_hung_up_in_time_is_remembered(only, stream, first_ms):
    prompt = f"[[sim: fault=crash after=0 first_ms={first_ms} ignore_stop]] poison left {stream} {first_ms}"
    before = count(only, "suspected")
    only.control(start_delay_ms=2000)  # what starts anew is not asked before its client is gone
    with Stream(only, OPENAI, prompt, key=only.key, stream=stream):
        until(lambda: only.asks(prompt))
    until(lambda: count(only, "suspected") > before)
    only.control()
    assert len(only.asks(prompt)) == 1


def test_key_with_changing_poison_is_refused(only, wire, stream):
    now = time.time()
    seen = {f"{only.key_id(only.name)}:{number}": (f"w2-i1:{number}", now - number) for number in range(4)}
    others = {name: json.dumps([2, True, at, which, which, at]) for name, (which, at) in seen.items()}
    with only.redis() as client:
        client.hset("lgw:crashes", mapping=others)  # as other web processes tell it
    poison = POISON.format(after=0, name=f"fifth {wire} {stream}")
    fifth = only.ask(wire, poison)
    assert fifth.status == 429 or is_refused(fifth)  # 429: the others were told before its first exit
    spent = until(lambda: (answer := only.ask(wire, "anything else", stream=stream)).status == 429 and answer)
    assert b"over several requests of this key" in spent.body
    wait = int(spent.headers["retry-after"])
    assert now - 3 + 600 - time.time() <= wait <= 600 - 3 + 1  # until the oldest of the five is ten minutes old
    row = only.row(spent.headers["x-request-id"])
    assert (row["reason"], row["retry_after"]) == ("crashing_prompts", wait)
    assert only.ask(wire, "[[sim: text=fine]] x", key=OTHER_KEY).status == 200
