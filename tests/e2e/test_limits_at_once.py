"""Limits hold for requests that come at once, and let go of what a killed process held."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from gateway_project.lib.redis import redis_keys
from tests.e2e.formats import FORMATS, OPENAI, Stream
from tests.e2e.installation import KEY, Gateway, limited_key, until

HOLD = '[[sim: text="slow answer" chunks=2 delay_ms=60000]] x'


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, template):
    """One of its own: what other tests' turns cost would be the first guess at these."""
    with Gateway(tmp_path_factory.mktemp("limited"), template) as running:
        yield running


def test_concurrent_requests_take_about_the_token_limit(gateway):
    """Each takes about 330 of 2,000: an answer of 300, as the first one has shown."""
    prompt, key = f'[[sim: text="{"word " * 300}" delay_ms=5]] x', limited_key("tokens")
    formats = list(FORMATS)
    assert gateway.ask(OPENAI, prompt, key=key).status == 200
    with ThreadPoolExecutor(32) as pool:
        asked = [pool.submit(gateway.ask, formats[number % len(formats)], prompt, key=key) for number in range(48)]
        answers = [each.result() for each in asked]
    refused = [each for each in answers if each.status != 200]
    assert {each.status for each in refused} == {429}
    assert all(int(each.headers["retry-after"]) >= 1 for each in refused)
    gateway.ask(OPENAI, "[[sim: text=x]] x", key=KEY)
    key_id = gateway.key_id("tokens")
    spent = [row for row in gateway.rows().values() if row["api_key_id"] == key_id]
    assert 1000 < sum(row["prompt_tokens"] + row["completion_tokens"] for row in spent) < 2800


def reserved(gateway, name):
    """Turns of the key that are not settled yet: each holds tokens."""
    with gateway.redis() as client:
        return client.hlen(redis_keys.limits("key", gateway.key_id(name))[-1])


def test_early_hang_up_costs_the_prompt(gateway):
    """Two questions of more than 1,500 tokens are more than 3,000 a minute, also when nobody waits for a reply."""
    key, words = limited_key("early"), "word " * 1300
    for number in range(2):
        question = f"left early {number}"
        prompt = f"[[sim: text=x first_ms=60000]] {question} {words}"
        with Stream(gateway, OPENAI, prompt, key=key, model=question):
            until(lambda question=question: gateway.asks(question))
        row = gateway.row_of_model(question)
        assert (row["status"], row["first_token_ms"]) == ("cancelled", None)
        assert 1500 < row["prompt_tokens"] < 3000
        until(lambda: reserved(gateway, "early") == 0)
    assert until(lambda: gateway.ask(OPENAI, "[[sim: text=x]] x", key=key).status == 429)


def test_killed_process_holds_no_place_of_its_keys(gateway):
    with ExitStack() as streams:
        for _ in range(2):
            stream = streams.enter_context(Stream(gateway, OPENAI, HOLD, key=limited_key("two")))
            stream.until(b"slow")
        assert gateway.ask(OPENAI, "[[sim: text=x]] x", key=limited_key("two")).status == 429
        gateway.processes[0].kill()
        gateway.processes[0].wait()
        gateway.processes.append(gateway.start(1))
        until(lambda: gateway.ask(OPENAI, "[[sim: text=x]] x", key=limited_key("two")).status == 200)
