"""The headers of the contract, on good answers and on refusals."""

import time

import pytest

from tests.e2e.formats import ANTHROPIC, OPENAI, send
from tests.e2e.installation import KEY

VERSION = {"anthropic-version": "2023-06-01"}


def common(answer):
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["x-lingma-upstream"] == "simulator"


def test_headers_name_who_took_the_turn(gateway, wire, stream):
    answer = gateway.ask(wire, "[[sim: text=hi]] x", stream=stream)
    common(answer)
    assert answer.headers["x-lingma-instance"] == "w1-i1"
    assert answer.headers["x-lingma-model"] == "org_auto"
    assert answer.headers["x-lingma-session"] == "new"
    assert answer.headers["x-lingma-queue-ms"].isdigit()
    assert answer.headers["x-lingma-first-token-ms"].isdigit()


def test_whole_reply_has_its_duration(gateway, wire):
    assert gateway.ask(wire, "[[sim: text=hi]] x").headers["x-lingma-total-ms"].isdigit()


@pytest.mark.parametrize(
    ("name", "used"),
    [
        ("llama-99", "org_auto"),
        ("claude-opus-99", "dashscope_qwen3_coder"),
        ("gpt-99-mini", "org_auto"),
        ("Qwen3.6-Plus", "dashscope_qmodel"),
    ],
)
def test_alias_means_a_model_and_is_echoed(gateway, wire, name, used):
    answer = gateway.ask(wire, "[[sim: text=hi]] x", model=name)
    assert answer.headers["x-lingma-model"] == used
    assert answer.json()["model"] == name


@pytest.mark.parametrize(
    ("method", "path", "key", "body", "headers", "status"),
    [
        ("POST", OPENAI.path, None, OPENAI.body("x"), {}, 401),
        ("POST", ANTHROPIC.path, None, ANTHROPIC.body("x"), {}, 401),
        ("GET", OPENAI.path, KEY, None, {}, 405),
        ("GET", ANTHROPIC.path, KEY, None, {}, 405),
        ("GET", "/v1/nope", KEY, None, {}, 404),
        ("GET", "/v1/nope", KEY, None, VERSION, 404),
        ("GET", "/v1/models/nope", KEY, None, VERSION, 404),
        ("GET", "/v1/models", KEY, None, {}, 200),
        ("GET", "/v1/models", KEY, None, VERSION, 200),
        ("POST", OPENAI.path, KEY, b"{", {}, 400),
        ("POST", ANTHROPIC.path, KEY, b"{", {}, 400),
        ("POST", OPENAI.path, KEY, b" " * (33 << 20), {}, 413),
        ("POST", ANTHROPIC.path, KEY, b" " * (33 << 20), {}, 413),
        ("POST", OPENAI.path, KEY, OPENAI.body("[[sim: fault=finish_code after=0 finish=429]] x"), {}, 429),
        ("POST", ANTHROPIC.path, KEY, ANTHROPIC.body("[[sim: fault=finish_code after=0]] x"), {}, 502),
        ("POST", "/v1/messages/count_tokens", KEY, ANTHROPIC.body("x"), {}, 200),
        ("GET", "/healthz", None, None, {}, 200),
        ("GET", "/readyz", None, None, {}, 200),
        ("GET", "/metrics", None, None, {}, 401),
        ("POST", "/internal/smoke", None, None, {}, 401),
    ],
    ids=lambda value: str(value)[:40],
)
def test_every_answer_has_the_common_headers(gateway, method, path, key, body, headers, status):
    answer = send(gateway, method, path, key=key, body=body, headers=headers)
    assert answer.status == status
    common(answer)
    is_anthropic = "messages" in path or headers
    assert answer.headers.get("request-id") == (answer.headers["x-request-id"] if is_anthropic else None)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/", None, 302),
        ("GET", "/login/", None, 200),
        ("GET", "/me/", None, 200),
        ("GET", "/usage/export.csv", None, 302),
        ("GET", "/api/keys/", None, 401),
        ("GET", "/static/nope", None, 404),
        ("POST", "/admin/login/", b" " * (3 << 20), 413),
    ],
    ids=lambda value: str(value)[:40],
)
def test_pages_name_what_answers_the_chats(gateway, method, path, body, status):
    answer = send(gateway, method, path, body=body)
    assert (answer.status, answer.headers["x-lingma-upstream"]) == (status, "simulator")


def test_answers_never_share_an_id(gateway):
    assert len({send(gateway, "GET", "/healthz").headers["x-request-id"] for _ in range(50)}) == 50


def test_ids_begin_with_their_second(gateway):
    before = int(time.time())
    id_ = send(gateway, "GET", "/healthz").headers["x-request-id"].removeprefix("req_")
    assert before <= int(id_[:8], 16) <= time.time()
    assert len(id_) == 32
