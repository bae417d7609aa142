"""Connections and processes that are lost in a turn: hidden before the first byte, told after it."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.formats import ANTHROPIC, OPENAI, send
from tests.e2e.installation import Gateway, until

INSTANCES = 6  # so that others are ready while one that was lost starts again
NAMES = [f"w1-i{number}" for number in range(1, INSTANCES + 1)]


@pytest.fixture(scope="module")
def many(tmp_path_factory, template):
    """One web process with more instances than any test loses."""
    with Gateway(tmp_path_factory.mktemp("many"), template, LINGMA_INSTANCES=str(INSTANCES)) as running:
        yield running


def ready(gateway):
    instances = send(gateway, "GET", "/readyz").json()["instances"]
    return {each["name"] for each in instances if each["state"] == "ready"}


def some_ready(gateway, wanted=2):
    return until(lambda: len(ready(gateway)) >= wanted)


@pytest.mark.parametrize(
    ("wire", "stream", "fault", "victim"),
    [
        (OPENAI, False, "drop", "w1-i1"), (OPENAI, True, "drop", "w1-i2"), (ANTHROPIC, False, "drop", "w1-i3"),
        (ANTHROPIC, True, "drop", "w1-i4"), (OPENAI, True, "crash", "w1-i5"), (ANTHROPIC, True, "bad_json", "w1-i6"),
    ],
    ids=str,
)  # fmt: skip
def test_loss_before_first_byte_is_unnoticed(many, wire, stream, fault, victim):
    until(lambda: victim in ready(many) and len(ready(many)) > 1)
    question = f"lost {fault} {wire} {stream}"
    many.control(victim, turns=[{"fault": fault, "after": 0}])
    answers = [many.ask(wire, f"[[sim: text=whole]] {question}", stream=stream) for _ in NAMES]
    many.control(victim)
    assert [(each.status, each.text, each.finish) for each in answers] == [(200, "whole", wire.done)] * INSTANCES
    assert len([ask for name in NAMES for ask in many.asks(question, name)]) == INSTANCES + 1
    # It may be back before the last question is asked.
    served = [each.headers["x-lingma-instance"] for each in answers].count(victim)
    assert served == len(many.asks(question, victim)) - 1
    rows = [many.row(each.headers["x-request-id"])["status"] for each in answers]
    assert rows == ["ok"] * INSTANCES


@pytest.mark.parametrize("fault", ["drop", "crash", "wrong_length"])
def test_loss_after_text_is_a_stream_error(many, wire, fault):
    some_ready(many)
    answer = many.ask(wire, f'[[sim: text="some text" chunks=2 after=1 delay_ms=50 fault={fault}]] x', stream=True)
    assert (answer.status, answer.text) == (200, "some")
    assert answer.error["type"] == ("server_error" if wire.name == "openai" else "api_error")
    assert answer.finish is None
    assert b"[DONE]" not in answer.body
    assert b"message_stop" not in answer.body
    row = many.row(answer.headers["x-request-id"])
    assert (row["status"], row["reason"]) == ("error", "upstream")


def test_loss_after_text_never_passes_for_complete(many, wire):
    some_ready(many)
    answer = many.ask(wire, '[[sim: text="some text" chunks=2 after=1 delay_ms=50 fault=drop]] x')
    assert (answer.status, answer.text) in [(502, ""), (200, "some text")]


def test_lost_connection_ends_its_turns_and_is_restored(tmp_path, template):
    with Gateway(tmp_path, template, LINGMA_INSTANCES="2") as gateway, ThreadPoolExecutor(12) as pool:
        some_ready(gateway)
        slow = '[[sim: text="some text" chunks=2 delay_ms=60000]] x'
        asked = [pool.submit(gateway.ask, OPENAI, slow, stream=True) for _ in range(12)]
        until(lambda: gateway.in_flight() == 12)
        for process in [gateway.lingma(name) for name in ("w1-i1", "w1-i2")]:
            process.kill()
        answers = [each.result() for each in asked]
        assert all(each.text == "some" and each.error for each in answers)
        assert until(lambda: gateway.in_flight() == 0)
        some_ready(gateway)
        assert gateway.ask(OPENAI, "[[sim: text=back]] x").text == "back"
