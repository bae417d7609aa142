"""What operators look at: health, readiness, metrics, smoke, the log; and what none of it may tell."""

import os
import re

import pytest

from tests.e2e.formats import OPENAI, Stream, send
from tests.e2e.installation import KEY, METRICS_KEY, OTHER_KEY, Gateway, until

CANARIES = {name: f"canary-{name}-7f3a" for name in ("prompt", "answer", "system", "reason", "body", "query", "stop")}
WRONG_KEY = "lgw_canary-wrong-key-8b1c"


@pytest.fixture(scope="module")
def talkative(tmp_path_factory, template):
    """Tokens are set, and everything that can be logged is."""
    settings = {"ADMIN_TOKEN": "canary-admin-token", "METRICS_TOKEN": "canary-metrics-token", "LOG_LEVEL": "DEBUG"}
    settings |= {"LINGMA_INSTANCES": "2", "LINGMA_ASK_KIND": "request"}
    with Gateway(tmp_path_factory.mktemp("talkative"), template, **settings) as running:
        until(lambda: running.ask(OPENAI, "[[sim: text=x]] x").status == 200)
        yield running


def test_healthz_shows_the_upstream(gateway):
    told = send(gateway, "GET", "/healthz").json()
    assert (told["status"], told["upstream"]) == ("ok", "simulator")
    assert told["version"]


def test_readyz_lists_each_instance(gateway):
    answer = send(gateway, "GET", "/readyz")
    assert answer.status == 200
    assert [(each["name"], each["state"]) for each in answer.json()["instances"]] == [("w1-i1", "ready")]


def test_heads_of_these_pages_have_no_body(gateway):
    for path in ("/healthz", "/readyz"):
        answer = send(gateway, "HEAD", path)
        assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(("key", "status"), [(None, 401), ("wrong", 401), (KEY, 403), (METRICS_KEY, 200)])
def test_metrics_need_a_key_with_the_scope(gateway, key, status):
    assert send(gateway, "GET", "/metrics", key=key).status == status


def test_the_metrics_token_opens_the_metrics(talkative):
    talkative.ask(OPENAI, "[[sim: text=x]] x", stream=True)
    text = send(talkative, "GET", "/metrics", key="canary-metrics-token").body.decode()
    for name in (
        "gen_ai_server_request_duration_seconds", "gen_ai_server_time_to_first_token_seconds",
        "gen_ai_server_time_per_output_token_seconds", "gen_ai_client_token_usage", "lingma_gateway_requests_total",
        "lingma_gateway_queue_time_seconds", "lingma_gateway_in_flight", "lingma_gateway_instance_state",
        "lingma_gateway_instance_restarts_total", "lingma_gateway_acks_late_total", "lingma_gateway_sessions_total",
        "lingma_gateway_ledger_backlog",
    ):  # fmt: skip
        assert name in text


def test_hanging_metrics_files_are_unavailable_and_harmless(talkative):
    hanging = talkative.data_dir / "metrics" / "counter_1.db"
    os.mkfifo(hanging)  # opening it to read waits for a writer, as a disk that hangs does
    assert send(talkative, "GET", "/metrics", key="canary-metrics-token").status == 503
    assert talkative.ask(OPENAI, "[[sim: text=x]] x").status == 200
    with hanging.open("w"):
        hanging.unlink()
    until(lambda: send(talkative, "GET", "/metrics", key="canary-metrics-token").status == 200)


@pytest.mark.parametrize("key", [None, "wrong", KEY, "canary-metrics-token"])
def test_smoke_is_closed(talkative, key):
    assert send(talkative, "POST", "/internal/smoke", key=key).status == 401


def test_smoke_asks_every_instance(talkative):
    until(lambda: len(send(talkative, "GET", "/readyz").json()["instances"]) == 2)
    answer = until(
        lambda: (found := send(talkative, "POST", "/internal/smoke", key="canary-admin-token")).status == 200 and found
    )
    assert [each["instance"] for each in answer.json()["instances"]] == ["w1-i1", "w1-i2"]
    for each in answer.json()["instances"]:
        assert (each["ok"], each["error"]) == (True, None)
        assert 0 <= each["first_token_ms"] <= each["total_ms"]


def test_empty_token_opens_nothing(gateway):
    for headers in ({}, {"authorization": "Bearer "}, {"authorization": "Bearer"}):
        assert send(gateway, "POST", "/internal/smoke", headers=headers).status == 401
        assert send(gateway, "GET", "/metrics", headers=headers).status == 401


@pytest.mark.parametrize("knob", ['ask_error="no such mood"', "ask_refused"])
def test_rejected_question_is_the_services_failure(talkative, wire, stream, knob):
    answer = talkative.ask(wire, f"[[sim: {knob}]] x", stream=stream)
    assert (answer.status, answer.error["type"]) == (502, "server_error" if wire is OPENAI else "api_error")


def test_ask_by_request_works_like_by_notification(talkative, wire, stream):
    answer = talkative.ask(wire, "[[sim: text=asked size=2]] x", stream=stream)
    assert (answer.text, answer.finish) == ("asked", wire.done)


def say_canaries(gateway, wire):
    until(lambda: send(gateway, "GET", "/readyz").status == 200)
    prompt = f'[[sim: text="{CANARIES["answer"]}"]] {CANARIES["prompt"]}'
    system = {"role": "system", "content": CANARIES["system"]}
    for stream in (False, True):
        gateway.ask(wire, [system, {"role": "user", "content": prompt}], stream=stream)
        gateway.ask(wire, f"[[sim: finish=500 fault=finish_code after=0]] {CANARIES['prompt']}", stream=stream)
    send(gateway, "POST", wire.path, key=WRONG_KEY, body=wire.body(prompt))
    send(gateway, "POST", wire.path, key=KEY, body=b'{"model": "' + CANARIES["body"].encode())
    send(gateway, "POST", f"{wire.path}?key={CANARIES['query']}", key=KEY, body=wire.body(prompt))
    leaving = '[[sim: text="a b" chunks=2 delay_ms=60000]] ' + CANARIES["prompt"]
    with Stream(gateway, wire, leaving, key=KEY) as left:
        left.until(b'"a')


def cancelled(gateway):
    return "".join(line for line in gateway.output().splitlines() if "status=cancelled" in line)


def test_log_has_no_secret_prompt_or_answer(talkative, wire):
    say_canaries(talkative, wire)
    until(lambda: f"endpoint={wire.path}" in cancelled(talkative))
    talkative.ask(wire, f"[[sim: fault=bad_json after=1]] {CANARIES['prompt']}")
    output = talkative.output()
    for secret in (*CANARIES.values(), WRONG_KEY, KEY, METRICS_KEY, "canary-admin-token", "canary-metrics-token"):
        assert secret not in output


def test_a_turn_is_one_line_of_the_log(gateway, wire):
    answer = gateway.ask(wire, "[[sim: text=logged]] x")
    id_ = answer.headers["x-request-id"]
    [line] = until(lambda: [line for line in gateway.output().splitlines() if id_ in line])
    assert re.search(r"status=ok .*total_ms=\d+", line)
    assert all(name in line for name in ("model=", "instance=w1-i1", "first_token_ms=", "usage_source=", "key="))


@pytest.mark.parametrize("prompt", ["[[sim: text=hello]] x", "[[sim: fault=finish_code after=0]] x"])
def test_row_names_the_team_of_its_key(gateway, wire, prompt):
    team = gateway.key_id("team core")
    for key, expected in ((OTHER_KEY, team), (KEY, None)):
        answer = gateway.ask(wire, prompt, key=key)
        assert gateway.row(answer.headers["x-request-id"])["team_id"] == expected


def test_key_pasted_as_model_is_not_stored(gateway, wire):
    answer = gateway.ask(wire, "[[sim: text=hello]] x", model=OTHER_KEY)
    assert gateway.row(answer.headers["x-request-id"])["model"].startswith("lgw_")
    with gateway.redis() as client:
        assert not [entry for entry in client.xrange("lgw:usage") if OTHER_KEY.encode() in entry[1][b"row"]]
