"""One instance that goes away and comes back: turns of which nothing was told wait for it, and are asked again."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.formats import ANTHROPIC, FORMATS, OPENAI, RESPONSES, Stream, send
from tests.e2e.installation import KEY, Gateway, django, limited_key, until

OPENINGS = {
    "openai": b'"role":"assistant"',
    "anthropic": b"event: message_start",
    "responses": b"event: response.created",
}
LOST_AFTER_SIGNS = {"fault": "drop", "after": 0, "first_ms": 1500}


@pytest.fixture(params=[*FORMATS, RESPONSES], ids=str)
def wire(request):
    return request.param


def test_loss_before_first_byte_is_answered(mortal, wire, stream):
    question = f"lost at first {wire} {stream}"
    mortal.control(turns=[{"fault": "drop", "after": 0}, {}] * 4)
    answers = [mortal.ask(wire, f"[[sim: text=whole]] {question}", stream=stream) for _ in range(4)]
    assert [(each.status, each.text) for each in answers] == [(200, "whole")] * 4
    assert len(mortal.asks(question)) == 8
    assert [mortal.row(each.headers["x-request-id"])["status"] for each in answers] == ["ok"] * 4


def test_retry_after_signs_of_life_continues_the_stream(mortal, wire, stream):
    mortal.control(turns=[LOST_AFTER_SIGNS, {}])
    answer = mortal.ask(wire, "[[sim: text=whole]] lost after signs of life", stream=stream)
    assert (answer.status, answer.text) == (200, "whole")
    assert (wire.keep_alive in answer.body) == stream
    assert not stream or answer.body.count(OPENINGS[wire.name]) == 1
    row = mortal.row(answer.headers["x-request-id"])
    assert (row["status"], row["reason"]) == ("ok", "stop")
    assert row["queue_ms"] <= row["first_token_ms"] + 1 <= row["total_ms"] + 2  # sums of rounded parts


def test_repeated_loss_is_an_error_in_the_end(mortal, wire, stream):
    question = f"lost each time {wire} {stream}"
    answer = mortal.ask(wire, f"[[sim: fault=drop after=0]] {question}", stream=stream)
    assert answer.status in {502, 200 if stream else 502}  # 200 after a sign of life
    assert answer.error or b"response.failed" in answer.body
    assert len(mortal.asks(question)) == 3
    row = mortal.row(answer.headers["x-request-id"])
    assert (row["status"], row["reason"]) == ("error", "upstream")


def test_turns_of_killed_process_move_to_the_next(mortal, stream):
    with ThreadPoolExecutor(4) as pool:
        prompts = [f"[[sim: text=whole first_ms=700]] killed {stream} {number}" for number in range(4)]
        asked = [pool.submit(mortal.ask, OPENAI, prompt, stream=stream) for prompt in prompts]
        until(lambda: len(mortal.asks(f"killed {stream}")) >= 4)
        mortal.lingma().kill()
        answers = [each.result() for each in asked]
    assert [(each.status, each.text) for each in answers] == [(200, "whole")] * 4
    assert len({each.headers["x-request-id"] for each in answers} & mortal.rows().keys()) == 4


def test_logged_out_instance_takes_no_turns(mortal):
    until(lambda: send(mortal, "GET", "/readyz").status == 200)
    assert mortal.ask(ANTHROPIC, "[[sim: fault=logout after=0]] x").status == 503
    until(lambda: send(mortal, "GET", "/readyz").json()["instances"][0]["state"] == "login_required")
    assert mortal.ask(ANTHROPIC, "x").status == 503
    mortal.control(login="auto")
    assert until(lambda: mortal.ask(ANTHROPIC, "[[sim: text=back]] x").status == 200)


@pytest.fixture(scope="module")
def slow(tmp_path_factory, template):
    """An instance that takes its time to start."""
    delays = {"LINGMA_SIMULATOR_START_DELAY_MS": "4000", "KEEPALIVE_SEC": "0.2"}
    with Gateway(tmp_path_factory.mktemp("slow"), template, **delays) as running:
        yield running


def away(gateway):
    gateway.lingma().kill()
    until(lambda: send(gateway, "GET", "/readyz").status == 503)


def test_a_turn_waits_for_an_instance_that_starts(slow, wire):
    away(slow)
    answer = slow.ask(wire, "[[sim: text=served]] x", stream=True)
    assert (answer.status, answer.text) == (200, "served")
    assert wire.keep_alive in answer.body
    assert slow.row(answer.headers["x-request-id"])["queue_ms"] > 500


def test_absent_caller_is_not_asked_for_after_start(slow, wire):
    away(slow)
    question = f"left while it starts {wire}"
    with Stream(slow, wire, question, key=KEY, model=question) as waiting:
        waiting.until(wire.keep_alive)
    row = slow.row_of_model(question)
    assert (row["status"], row["reason"], row["instance"]) == ("cancelled", "client_closed", "")
    assert slow.ask(wire, "[[sim: text=after]] x").status == 200
    assert slow.asks(question) == []


def answers(gateway):
    try:
        return send(gateway, "GET", "/healthz").status == 200
    except OSError:
        return False


def test_waiting_caller_learns_of_key_end_and_stop(tmp_path, template):
    settings = {"LINGMA_SIMULATOR_START_DELAY_MS": "60000", "KEEPALIVE_SEC": "0.2", "DRAIN_SEC": "1"}
    with Gateway(tmp_path, template, wait=False, **settings) as gateway:
        until(lambda: answers(gateway))
        with (
            Stream(gateway, OPENAI, "x", key=limited_key("alone")) as revoked,
            Stream(gateway, OPENAI, "x", key=KEY) as other,
        ):
            for each in (revoked, other):
                each.until(OPENAI.keep_alive)
            django(tmp_path, 'from accounts.models import ApiKey\nApiKey.objects.filter(name="alone").revoke()')
            assert revoked.rest().error["code"] == "invalid_api_key"
            gateway.processes[0].terminate()
            assert "shutting down" in other.rest().error["message"]
