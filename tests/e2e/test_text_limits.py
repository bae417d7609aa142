"""`stop` and `max_tokens`, which the service knows nothing of, and the usage that is told."""

import pytest

from tests.e2e.formats import ANTHROPIC, OPENAI
from tests.e2e.installation import KEY, until

LONG = '[[sim: text="one two three four five six seven eight nine ten" size={size} delay_ms={delay}]] '


def stop_of(wire, *texts):
    return {"stop": list(texts)} if wire.name == "openai" else {"stop_sequences": list(texts)}


@pytest.mark.parametrize("size", [1, 3, 100])
def test_stop_sequence_ends_answer_wherever_cut(gateway, wire, stream, size):
    more = stop_of(wire, "never", "four")
    answer = gateway.ask(wire, LONG.format(size=size, delay=0), stream=stream, **more)
    assert answer.text == "one two three "
    assert answer.finish == ("stop" if wire.name == "openai" else "stop_sequence")
    if wire.name == "anthropic" and not stream:
        assert answer.json()["stop_sequence"] == "four"
    assert gateway.row(answer.headers["x-request-id"])["status"] == "ok"


def test_a_stop_sequence_may_be_one_string(gateway, stream):
    assert gateway.ask(OPENAI, LONG.format(size=2, delay=0), stream=stream, stop="two").text == "one "


def test_near_stop_sequence_is_sent(gateway, wire, stream):
    answer = gateway.ask(wire, LONG.format(size=1, delay=0), stream=stream, **stop_of(wire, "ten thousand"))
    assert answer.text.endswith("nine ten")
    assert answer.finish == wire.done


@pytest.mark.parametrize(
    ("wire", "name"), [(OPENAI, "max_tokens"), (OPENAI, "max_completion_tokens"), (ANTHROPIC, "max_tokens")], ids=str
)
def test_the_token_limit_ends_the_answer(gateway, wire, stream, name):
    answer = gateway.ask(wire, LONG.format(size=1, delay=0), stream=stream, **{name: 3})
    assert "one two three four five six".startswith(answer.text.strip())
    assert answer.text
    assert answer.finish == ("length" if wire.name == "openai" else "max_tokens")
    assert gateway.row(answer.headers["x-request-id"])["completion_tokens"] <= 3


@pytest.mark.parametrize("limit", ["stop", "tokens"])
def test_service_gets_a_stop(gateway, wire, limit):
    question = f"limited by {limit} {wire}"
    more = stop_of(wire, "two") if limit == "stop" else {"max_tokens": 1}
    gateway.ask(wire, LONG.format(size=4, delay=200) + question, **more)
    assert until(lambda: gateway.stops(question))


def test_service_usage_is_reported(gateway, wire, stream):
    more = {"stream_options": {"include_usage": True}} if wire is OPENAI else {}
    answer = gateway.ask(wire, '[[sim: text=hello usage="1234,56"]] x', stream=stream, **more)
    assert answer.usage == (1234, 56)
    row = gateway.row(answer.headers["x-request-id"])
    assert (row["prompt_tokens"], row["completion_tokens"], row["usage_source"]) == (1234, 56, "upstream")


def test_late_usage_line_is_waited_for(gateway, wire):
    def told():
        """Nobody waits for a service that has logged nothing lately, nor for long: a busy one may be too late."""
        gateway.ask(wire, '[[sim: text=hello usage="1234,56"]] x')
        return gateway.ask(wire, '[[sim: text=hello usage="77,5" usage_line=after usage_late_ms=30]] x').usage

    assert until(lambda: told() == (77, 5))


def test_usage_is_estimated_without_service_figures(gateway, wire, stream):
    more = {"stream_options": {"include_usage": True}} if wire is OPENAI else {}
    answer = gateway.ask(wire, '[[sim: text="a few words" usage_line=never]] x', stream=stream, **more)
    row = gateway.row(answer.headers["x-request-id"])
    assert answer.usage == (row["prompt_tokens"], row["completion_tokens"])
    assert min(answer.usage) > 0
    assert row["usage_source"] == "estimate"


def test_row_describes_the_turn(gateway, wire, stream):
    answer = gateway.ask(wire, "[[sim: text=hello]] x", stream=stream, model="some-alias")
    row = gateway.row(answer.headers["x-request-id"])
    assert (row["protocol"], row["endpoint"], row["stream"]) == (wire.name, wire.path, stream)
    assert (row["model"], row["lingma_model"], row["instance"]) == ("some-alias", "org_auto", "w1-i1")
    assert (row["session"], row["status"], row["client"]) == ("new", "ok", "127.0.0.1")
    assert row["reason"] in {"stop", "end_turn"}
    assert row["first_token_ms"] <= row["total_ms"]


def test_one_turn_is_one_row(gateway, wire, stream):
    before = len(gateway.rows())
    ids = {gateway.ask(wire, "[[sim: text=x]] x", stream=stream, key=KEY).headers["x-request-id"] for _ in range(5)}
    until(lambda: ids <= set(gateway.rows()))
    assert len(gateway.rows()) == before + 5
