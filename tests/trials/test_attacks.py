"""What another key waits, and what the process weighs, while somebody attacks: measured from outside, against both."""

import base64
import gzip
import io
import json
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import psutil
import pytest
from PIL import Image

from tests.e2e.agents import hidden
from tests.e2e.formats import ANTHROPIC, OPENAI, Stream, send
from tests.e2e.installation import KEY, OTHER_KEY
from tests.trials.test_bounds_of_strangers import ENDLESS, MIB, pour

LONGEST_WAIT = 5.0  # seconds, on a busy machine; without bounds such attacks cost 8 to 30
MOST_GROWTH = 384 * MIB


class Witness:
    """Another key that asks all the time. Use as a context; then look at what it waited and saw."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.process = psutil.Process(gateway.processes[0].pid)
        self.before = self.process.memory_info().rss
        self.heaviest, self.longest, self.answers = self.before, 0.0, set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _watch(self):
        while not self._ended.wait(0.02):
            self._look()

    def _look(self):
        began = time.monotonic()
        self.answers.add(send(self.gateway, "GET", "/healthz").status)
        answer = self.gateway.ask(OPENAI, "[[sim: text=hello]] x", key=OTHER_KEY, stream=True)
        self.answers.add((answer.status, answer.text))
        self.longest = max(self.longest, time.monotonic() - began)
        self.heaviest = max(self.heaviest, self.process.memory_info().rss)

    @property
    def growth(self):
        return self.heaviest - self.before


def post(gateway, body, path=OPENAI.path, **headers):
    data = body if isinstance(body, bytes) else json.dumps({"model": "org_auto", **body}).encode()
    return send(gateway, "POST", path, key=KEY, body=data, headers={"content-type": "application/json", **headers})


def values(field, value, count):
    """A body with so many of them in one field."""
    rest = json.dumps({"model": "org_auto", "max_tokens": 50, "messages": [{"role": "user", "content": "x"}]}).encode()
    return rest[:-1] + b', "%b": [%b]}' % (field, b",".join([value] * count))


def schema_that_costs_much(gateway):
    schema = {"type": "object", "properties": {"a": {"items": {"allOf": [{}] * 2000}}}}
    call = f'<tool_call>{{"name":"f","arguments":{{"a":[{",".join(["0"] * 2500)}]}}}}</tool_call>'
    tools = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
    prompt = f"[[sim: text={hidden(call)} size=4000]]"
    answer = post(gateway, {"messages": [{"role": "user", "content": prompt}], "tools": tools})
    assert answer.status == 200


def pattern_that_costs_much(gateway):
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
    call = f'<tool_call>{{"name":"f","arguments":{{"a":"{"a" * 60}!"}}}}</tool_call>'
    tools = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
    assert post(gateway, {"messages": [OPENAI.body(f"[[sim: text={hidden(call)}]]")["messages"][0]], "tools": tools})


def replies(gateway, said, *before, **fields):
    """The model says this, all at once."""
    prompt = f"[[sim: text={hidden(said)} first_ms=0 delay_ms=0 chunks=1]]"
    messages = [*({"role": "user", "content": text} for text in before), {"role": "user", "content": prompt}]
    return post(gateway, {"messages": messages, **fields})


def native_call(arguments):
    """One in a notation of the model's own, and the tool that it calls."""
    integers = {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "array"}]}}
    parameters = {"type": "object", "properties": {"x": {"type": "string"}, "n": integers}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": parameters}}]
    return f'<tool_call>{{"name":"f","arguments":{arguments}}}</tool_call>', tools


def quotation_that_costs_much(gateway):
    call, tools = native_call(f'{{"x":"aa{"!" * 9000}bb"}}')
    answer = replies(gateway, call, f'{{"name": "f", "arguments": {{"x": "aa{" bb" * 30_000}', tools=tools)
    assert b'"tool_calls"' in answer.body


def numbers_without_end_in_a_call(gateway):
    call, tools = native_call(f'{{"n":[{"1.0," * 60_000}1]}}')
    for _ in range(3):
        assert b'"tool_calls"' not in replies(gateway, call, tools=tools).body


def headings_without_end_at_once(gateway):
    assert replies(gateway, "x" + "\n[" * 200_000).status == 200


def millions_of_stop_sequences(gateway):
    assert post(gateway, values(b"stop_sequences", b'"zzz"', 4_000_000), ANTHROPIC.path).status == 400


def values_that_grow_when_decoded(gateway):
    body = values(b"tool_choice", b"[]", 10_000_000)
    answer = post(gateway, gzip.compress(body), **{"content-encoding": "gzip"})
    assert answer.status == 413


def millions_of_values(gateway):
    for path in (OPENAI.path, ANTHROPIC.path, "/v1/responses"):
        assert post(gateway, values(b"unknown", b"{}", 8_000_000), path).status == 400


def nesting_without_end(gateway):
    for path in (OPENAI.path, ANTHROPIC.path, "/v1/responses"):
        body = b'{"model": "org_auto", "x": ' + b"[" * 500_000 + b"]" * 500_000 + b"}"
        assert post(gateway, body, path).status == 400


def pictures_of_many_pixels(gateway):
    told = io.BytesIO()
    Image.new("RGB", (6000, 6000)).save(told, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(told.getvalue()).decode()}"
    parts = [{"type": "image_url", "image_url": {"url": url}}] * 10
    assert post(gateway, {"messages": [{"role": "user", "content": parts}]}).status == 400


def asking_with_picture(side, count=1):
    """A question with so many pictures of so many pixels."""
    told = io.BytesIO()
    Image.new("RGB", (side, side)).save(told, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(told.getvalue()).decode()}"
    parts = [
        {"type": "text", "text": "[[sim: text=seen]]"},
        *[{"type": "image_url", "image_url": {"url": url}}] * count,
    ]
    return [{"role": "user", "content": parts}]


def prompt_beyond_all_models(gateway):
    assert post(gateway, {"messages": [{"role": "user", "content": "word " * 6_000_000}]}).status == 400


def readers_that_do_not_read(gateway):
    prompt = "[[sim: echo=prompt size=1]] " + "y" * 50_000
    with ExitStack() as stack:
        for _ in range(4):  # half of the places
            stream = stack.enter_context(Stream(gateway, OPENAI, prompt, key=KEY, receive_buffer=4096))
            assert stream.status == 200
        time.sleep(2)  # the attack lasts as long: nothing happens that could be awaited


def keys_that_nobody_has(gateway):
    def guess(_):
        return [send(gateway, "GET", "/v1/models", key=secrets.token_hex(16)).status for _ in range(20)]

    with ThreadPoolExecutor(64) as pool:
        found = {status for statuses in pool.map(guess, range(64)) for status in statuses}
    assert found <= {401, 503}


def heads_and_bodies_without_end(gateway):
    with suppress(OSError), ThreadPoolExecutor(len(ENDLESS)) as pool:
        list(pool.map(lambda each: pour(gateway, *each, most=100 * MIB), ENDLESS.values()))


def pages_with_large_bodies(gateway):
    body = b"a=" + b"x" * 2_400_000
    form = {"content-type": "application/x-www-form-urlencoded", "cookie": f"csrftoken={'a' * 32}"}
    found = {post(gateway, body, "/admin/login/", **form).status for _ in range(200)}
    assert found == {403}


def crowd_that_tries_passwords(gateway):
    token = "a" * 32
    form = {"content-type": "application/x-www-form-urlencoded", "cookie": f"csrftoken={token}"}
    body = f"csrfmiddlewaretoken={token}&username=admin&password=wrong".encode()
    with ThreadPoolExecutor(100) as pool:
        found = set(pool.map(lambda _: post(gateway, body, "/admin/login/", **form).status, range(100)))
    assert found <= {200, 429, 503}


ATTACKS = [
    schema_that_costs_much, pattern_that_costs_much, quotation_that_costs_much, numbers_without_end_in_a_call,
    headings_without_end_at_once, millions_of_stop_sequences, values_that_grow_when_decoded,
    millions_of_values, nesting_without_end, pictures_of_many_pixels, prompt_beyond_all_models,
    readers_that_do_not_read, keys_that_nobody_has, heads_and_bodies_without_end, pages_with_large_bodies,
    crowd_that_tries_passwords,
]  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_an_attack_costs_another_key_little(gateway, attack, record_property):
    with Witness(gateway) as witness:
        attack(gateway)
    record_property("longest wait in ms", round(witness.longest * 1000))
    record_property("growth in MiB", witness.growth // MIB)

    assert witness.answers == {200, (200, "hello")}
    assert witness.longest < LONGEST_WAIT
    assert witness.growth < MOST_GROWTH


def test_large_pictures_delay_no_other_picture(gateway, record_property):
    """Four turns with three of the largest each are 12 to 30 s of work, and whoever asks for that hangs up."""
    large, small, waits = asking_with_picture(7000, 3), asking_with_picture(8), []
    with Witness(gateway) as witness, ExitStack() as stack:
        for _ in range(4):  # half of the places
            stack.enter_context(Stream(gateway, OPENAI, large, key=KEY))
        time.sleep(0.5)  # they are on their way
        for _ in range(5):
            began = time.monotonic()
            answer = gateway.ask(OPENAI, small, key=OTHER_KEY)
            waits.append(time.monotonic() - began)
            assert (answer.status, answer.text) == (200, "seen")
    record_property("longest wait with a picture in ms", round(max(waits) * 1000))
    record_property("longest wait in ms", round(witness.longest * 1000))
    assert max(waits) < LONGEST_WAIT
    assert witness.longest < LONGEST_WAIT
    assert witness.answers == {200, (200, "hello")}
