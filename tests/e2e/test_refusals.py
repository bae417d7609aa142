"""What is refused leaves a fact; a flood of it costs one row."""

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.e2e.formats import ANTHROPIC, OPENAI, Stream, send
from tests.e2e.installation import EXPIRED_KEY, METRICS_KEY, limited_key, until

RESPONSES = "/v1/responses"


def refused_row(gateway, key_id, reason, endpoint=None):
    """The row of the refusals of this key for this reason."""

    def found():
        rows = [row for row in gateway.rows().values() if (row["api_key_id"], row["reason"]) == (key_id, reason)]
        return next((row for row in rows if endpoint in (None, row["endpoint"])), None)

    row = until(found)
    assert row["status"] == "refused"
    return row


def test_reached_limit_is_in_a_row(gateway):
    assert gateway.ask(OPENAI, "[[sim: text=x]] x", key=limited_key("rpm")).status == 200
    answer = gateway.ask(OPENAI, "x", key=limited_key("rpm"), stream=True)
    assert answer.status == 429
    row = refused_row(gateway, gateway.key_id("rpm"), "rpm")
    assert (row["allowed"], row["value"], row["retry_after"]) == (1, 1, int(answer.headers["retry-after"]))
    assert (row["request_id"], row["model"], row["stream"], row["count"]) == (
        answer.headers["x-request-id"], "org_auto", True, 1,
    )  # fmt: skip


def test_tokens_and_places_are_limits_too(gateway):
    assert gateway.ask(OPENAI, "[[sim: text=x]] x", key=limited_key("tpm")).status == 200
    until(lambda: gateway.ask(ANTHROPIC, "[[sim: text=x]] x", key=limited_key("tpm")).status == 429)
    row = refused_row(gateway, gateway.key_id("tpm"), "tpm")
    assert row["allowed"] == 1
    assert row["value"] > 1
    with ExitStack() as streams, ThreadPoolExecutor(6) as pool:
        # The one that is served lasts for as long as the others may take to come.
        prompt, key = '[[sim: text="slow answer" chunks=2 delay_ms=60000]] x', limited_key("concurrency")
        asked = [streams.enter_context(Stream(gateway, OPENAI, prompt, key=key)) for _ in range(6)]
        statuses = list(pool.map(lambda stream: stream.status, asked))
    assert sorted(statuses) == [200] + [429] * 5
    assert refused_row(gateway, gateway.key_id("concurrency"), "concurrency")["allowed"] == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (OPENAI.path, OPENAI.body("x", model="dashscope_qwen3_coder")),
        (ANTHROPIC.path, ANTHROPIC.body("x", model="dashscope_qwen3_coder")),
        (RESPONSES, {"model": "dashscope_qwen3_coder", "input": "x"}),
    ],
)
def test_forbidden_model_is_refused_with_allowed_ones(gateway, path, body):
    answer = send(gateway, "POST", path, key=limited_key("confined"), body=body)
    assert answer.status == 403
    assert "It may use: claude-*, org_auto." in answer.error["message"]
    assert refused_row(gateway, gateway.key_id("confined"), "model", path)["model"] == "dashscope_qwen3_coder"


@pytest.mark.parametrize(
    "model", ["org_auto", "ORG_AUTO", "Auto", "claude-sonnet-4-5-20250929", "Claude-X[1m]", "unheard-of"]
)
def test_confined_key_may_use_all_its_models_names(gateway, model):
    answer = gateway.ask(OPENAI, "[[sim: text=mine]] x", key=limited_key("confined"), model=model)
    assert (answer.status, answer.text) == (200, "mine")


COUNTS = {
    f"{ANTHROPIC.path}/count_tokens": {"messages": [{"role": "user", "content": "x"}]},
    f"{RESPONSES}/input_tokens": {"input": "x"},
}


@pytest.mark.parametrize("path", COUNTS)
def test_count_keeps_to_the_models_of_keys(gateway, path):
    def count(model):
        return send(gateway, "POST", path, key=limited_key("narrow"), body={"model": model, **COUNTS[path]})

    assert count("org_auto").status == 200
    answer = count("dashscope_qwen3_coder")
    assert (answer.status, "It may use: org_auto." in answer.error["message"]) == (403, True)
    assert refused_row(gateway, gateway.key_id("narrow"), "model", path)["model"] == "dashscope_qwen3_coder"


def test_token_counts_and_model_lookups_count_as_requests(gateway):
    paths = [*COUNTS, "/v1/models/org_auto"]

    def asked(path):
        body = {"model": "org_auto", **COUNTS[path]} if path in COUNTS else None
        return send(gateway, "POST" if body else "GET", path, key=limited_key("counting"), body=body)

    assert [asked(path).status for path in paths] == [200] * 3
    for answer in map(asked, paths):
        assert answer.status == 429
        assert int(answer.headers["retry-after"]) > 0
    assert gateway.ask(OPENAI, "[[sim: text=x]] x", key=limited_key("counting")).status == 429
    assert refused_row(gateway, gateway.key_id("counting"), "rpm", paths[0])["allowed"] == 3


def test_confined_key_sees_only_its_models(gateway):
    listed = send(gateway, "GET", "/v1/models", key=limited_key("confined")).json()["data"]
    assert [model["id"] for model in listed] == ["org_auto"]
    assert send(gateway, "GET", "/v1/models/dashscope_qwen3_coder", key=limited_key("confined")).status == 404
    assert send(gateway, "GET", "/v1/models/dashscope_qwen3_coder", key=limited_key("plain")).status == 200


@pytest.mark.parametrize("path", [OPENAI.path, ANTHROPIC.path, RESPONSES, f"{ANTHROPIC.path}/count_tokens"])
def test_invalid_request_leaves_a_row(gateway, path):
    answer = send(gateway, "POST", path, key=limited_key("plain"), body={"model": 7})
    assert answer.status == 400
    assert (
        refused_row(gateway, gateway.key_id("plain"), "invalid_request", path)["request_id"]
        == answer.headers["x-request-id"]
    )


def test_a_body_beyond_the_bound_leaves_a_row(gateway):
    headers = {"content-length": str(33 << 20)}
    assert send(gateway, "POST", OPENAI.path, key=limited_key("plain"), body=b"{", headers=headers).status == 413
    assert refused_row(gateway, gateway.key_id("plain"), "too_large")["endpoint"] == OPENAI.path


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [("/v1/models/no-such", "/v1/models"), (f"{RESPONSES}/resp_{'0' * 48}", "/v1/responses/{id}")],
)
def test_request_answered_404_leaves_a_row(gateway, path, endpoint):
    assert send(gateway, "GET", path, key=limited_key("plain")).status == 404
    refused_row(gateway, gateway.key_id("plain"), "not_found", endpoint)


def test_a_key_without_the_scope_leaves_a_row(gateway):
    assert send(gateway, "GET", "/metrics", key=limited_key("plain")).status == 403
    assert refused_row(gateway, gateway.key_id("plain"), "scope")["endpoint"] == "/metrics"


def test_revoked_and_expired_keys_leave_rows(gateway, wire):
    gone = gateway.key_id("gone")
    for key, reason in ((limited_key("gone"), "revoked"), (EXPIRED_KEY, "expired")):
        answers = [gateway.ask(wire, "x", key=each) for each in (key, "lgw_test-key-of-nobody")]
        assert [answer.status for answer in answers] == [401, 401]
        assert answers[0].error == answers[1].error  # what is wrong with a key is told to operators alone
        row = until(lambda reason=reason: found(gateway, reason, wire.path, gone if reason == "revoked" else None))
        assert row["status"] == "refused"
        assert (row["api_key_id"] == gone) is (reason == "revoked")


def found(gateway, reason, endpoint, key_id):
    """Other modules share the gateway, and have closed keys of their own."""
    rows = [row for row in gateway.rows().values() if (row["reason"], row["endpoint"]) == (reason, endpoint)]
    return next((row for row in rows if key_id in (None, row["api_key_id"])), None)


def test_a_flood_is_one_row_with_a_count(gateway):
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: gateway.ask(OPENAI, "[[sim: text=x]] x", key=limited_key("flood")), range(60))
        )
    refused = sum(answer.status == 429 for answer in answers)
    assert refused == 59

    def rows():
        rows = [
            row
            for row in gateway.rows().values()
            if row["api_key_id"] == gateway.key_id("flood") and row["reason"] == "rpm"
        ]
        return rows if sum(row["count"] for row in rows) == refused else None

    assert len(until(rows)) <= 2  # a minute may have begun meanwhile
    lines = [line for line in gateway.output().splitlines() if "refused" in line and "rpm" in line]
    assert 0 < len(lines) < 30
    assert re.search(r'requests_total\{.*reason="rpm".*status="refused"\} ', metrics(gateway))


def test_refusals_count_apart_by_program_and_model(gateway):
    key, key_id = limited_key("programs"), gateway.key_id("programs")
    assert gateway.ask(OPENAI, "[[sim: text=x]] x", key=key).status == 200
    asked = [("curl/8.5.0", "org_auto"), *[("codex_cli_rs/0.42.0", model) for model in ("org_auto", "gpt-5", "gpt-5")]]
    for program, model in asked:
        body = OPENAI.body("x", model=model)
        assert send(gateway, "POST", OPENAI.path, key=key, body=body, headers={"user-agent": program}).status == 429

    def refused(agent, model=None):
        rows = [row for row in gateway.rows().values() if (row["api_key_id"], row["status"]) == (key_id, "refused")]
        return sum(row["count"] for row in rows if row["agent"] == agent and model in (None, row["model"]))

    until(lambda: (refused("curl"), refused("codex")) == (1, 3))
    assert refused("curl", "org_auto") == 1
    # Fewer, since a row for several models has none; as many if a minute ended between them.
    assert refused("codex", "org_auto") in (0, 1)
    assert refused("codex", "gpt-5") in (0, 1, 2)


def test_unknown_key_is_counted_without_a_row(gateway):
    before = len(gateway.rows())
    assert gateway.ask(OPENAI, "x", key="lgw_test-key-of-nobody").status == 401
    assert 'rejected_total{endpoint="/v1/chat/completions",reason="unknown_key"}' in metrics(gateway)
    until(lambda: "unknown_key" in gateway.output())
    assert len(gateway.rows()) == before


def metrics(gateway):
    return send(gateway, "GET", "/metrics", key=METRICS_KEY).body.decode()
