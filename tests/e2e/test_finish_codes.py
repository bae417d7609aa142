"""Each code of `chat/finish` (PROTOCOL 9.6), before and after text, in every form of a reply."""

from base64 import b64encode

import pytest

from tests.e2e.formats import ANTHROPIC, OPENAI, send
from tests.e2e.installation import KEY

UPSTREAM = (502, "server_error", 502, "api_error")
CODES = {
    0: UPSTREAM,
    400: (400, "invalid_request_error", 400, "invalid_request_error"),
    401: (503, "service_unavailable_error", 503, "overloaded_error"),
    403: (403, "invalid_request_error", 403, "permission_error"),
    406: (400, "invalid_request_error", 400, "invalid_request_error"),
    408: (504, "server_error", 504, "timeout_error"),
    409: UPSTREAM, 418: UPSTREAM, 500: UPSTREAM, 602: UPSTREAM, 604: UPSTREAM, 605: UPSTREAM,
    429: (429, "rate_limit_error", 429, "rate_limit_error"),
    601: (400, "invalid_request_error", 400, "invalid_request_error"),
    31404: UPSTREAM, 40505: UPSTREAM, 90000: UPSTREAM,
}  # fmt: skip
codes = pytest.mark.parametrize("code", CODES)


def expected(wire, code):
    openai_status, openai_type, anthropic_status, anthropic_type = CODES[code]
    return (openai_status, openai_type) if wire.name == "openai" else (anthropic_status, anthropic_type)


@codes
def test_finish_code_before_text_is_a_status(gateway, wire, stream, code):
    answer = gateway.ask(wire, f"[[sim: fault=finish_code after=0 finish={code}]] hello", stream=stream)
    assert (answer.status, answer.error["type"]) == expected(wire, code)
    assert answer.headers["content-type"] == "application/json"
    row = gateway.row(answer.headers["x-request-id"])
    assert row["status"] == "error"


@codes
def test_finish_code_after_text_ends_the_stream(gateway, wire, code):
    answer = gateway.ask(
        wire, f'[[sim: text="so far" chunks=2 after=2 fault=finish_code finish={code}]] x', stream=True
    )
    assert (answer.status, answer.text) == (200, "so far")
    assert answer.error["type"] == expected(wire, code)[1]
    may_pass = answer.error["type"] in {"api_error", "timeout_error"}
    assert answer.error["message"].endswith("Please retry your request.") is may_pass
    assert answer.finish is None
    assert b"[DONE]" not in answer.body
    assert b"message_stop" not in answer.body


@codes
def test_finish_code_after_text_fails_whole_replies(gateway, wire, code):
    answer = gateway.ask(wire, f'[[sim: text="so far" chunks=2 after=2 fault=finish_code finish={code}]] x')
    assert (answer.status, answer.error["type"]) == expected(wire, code)


def test_200_is_the_good_ending(gateway, wire, stream):
    answer = gateway.ask(wire, '[[sim: text="all well" finish=200]] x', stream=stream)
    assert (answer.status, answer.text, answer.finish, answer.error) == (200, "all well", wire.done, None)
    assert gateway.row(answer.headers["x-request-id"])["status"] == "ok"


@pytest.mark.parametrize("code", [406, 601])
def test_filtered_content_is_named_so_to_openai_clients(gateway, code):
    answer = gateway.ask(OPENAI, f"[[sim: fault=finish_code after=0 finish={code}]] x")
    assert answer.error["code"] == "content_filter"


def test_service_rate_limit_has_retry_after(gateway, wire):
    answer = gateway.ask(wire, "[[sim: fault=finish_code after=0 finish=429]] x")
    assert 1 <= int(answer.headers["retry-after"]) <= 30


FULL = "prompt is too long: 213462 tokens > 200000 maximum"
PATHS = {
    OPENAI.path: lambda text, **more: OPENAI.body(text, **more),
    ANTHROPIC.path: lambda text, **more: ANTHROPIC.body(text, **more),
    "/v1/responses": lambda text, **more: {"model": "org_auto", "input": text, **more},
}


def told(answer):
    """What an agent looks at: the code, or the words in Anthropic's format."""
    error = answer.error or answer.events[-1].get("response", {}).get("error")
    return error.get("code") or error["message"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("code", [400, 403, 429, 500, 604, 90000])
def test_full_context_has_words_that_agents_know(gateway, path, code, stream):
    knobs = f'[[sim: fault=finish_code after=0 finish={code} reason="{FULL}"]] x'
    answer = send(gateway, "POST", path, key=KEY, body=PATHS[path](knobs, stream=stream))
    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
    assert told(answer) == (FULL if path == ANTHROPIC.path else "context_length_exceeded")
    assert answer.headers["x-should-retry"] == "false"
    assert "maximum context length is 200000 tokens" in answer.error["message"] or path == ANTHROPIC.path
    assert gateway.row(answer.headers["x-request-id"])["reason"] == "context_full"


@pytest.mark.parametrize("path", PATHS)
def test_context_filling_mid_stream_has_same_words(gateway, path):
    knobs = f'[[sim: text="so far" chunks=2 after=2 fault=finish_code finish=500 reason="{FULL}"]] x'
    answer = send(gateway, "POST", path, key=KEY, body=PATHS[path](knobs, stream=True))
    assert answer.status == 200
    assert told(answer) == (FULL if path == ANTHROPIC.path else "context_length_exceeded")


@pytest.mark.parametrize("code", [112, 10011])
def test_a_plan_that_is_used_up_is_final(gateway, wire, code):
    answer = gateway.ask(wire, f"[[sim: fault=finish_code after=0 finish={code}]] x")
    assert (answer.status, answer.headers["x-should-retry"]) == (403, "false")
    assert "retry-after" not in answer.headers


def inside(reason):
    """A 403 whose text is this."""
    return f"[[sim: fault=finish_code after=0 finish=403 reason=base64:{b64encode(reason.encode()).decode()}]] x"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("code", [112, 10011])
def test_missing_plan_inside_a_403_is_final(gateway, path, stream, code):
    knobs = inside(f'{{"code":{code},"message":"https://example.com/pricing"}}')
    answer = send(gateway, "POST", path, key=KEY, body=PATHS[path](knobs, stream=stream))
    assert (answer.status, answer.headers["x-should-retry"]) == (403, "false")
    assert answer.error["type"] == ("permission_error" if path == ANTHROPIC.path else "insufficient_quota")
    assert "retry-after" not in answer.headers


@pytest.mark.parametrize(("path", "stream"), list(zip(PATHS, (True, False, True), strict=True)))
def test_queue_inside_a_403_is_429(gateway, path, stream):
    knobs = inside('{"isQueued":true,"queueCount":3,"retryAfterSeconds":7,"waitTime":30,"code":"10605"}')
    answer = send(gateway, "POST", path, key=KEY, body=PATHS[path](knobs, stream=stream))
    assert (answer.status, answer.headers["retry-after"]) == (429, "7")


@pytest.mark.parametrize("code", [429, 500])
def test_used_up_quota_in_words_is_final(gateway, wire, stream, code):
    words = "insufficient_quota: You exceeded your current quota."
    answer = gateway.ask(wire, f'[[sim: fault=finish_code after=0 finish={code} reason="{words}"]] x', stream=stream)
    assert (answer.status, answer.headers["x-should-retry"]) == (403, "false")
    assert "retry-after" not in answer.headers


@pytest.mark.parametrize("path", PATHS)
def test_filtered_content_in_words_is_bad_request(gateway, path, stream):
    knobs = '[[sim: fault=finish_code after=0 finish=418 reason="DataInspectionFailed: no"]] x'
    answer = send(gateway, "POST", path, key=KEY, body=PATHS[path](knobs, stream=stream))
    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
    assert told(answer) == (answer.error["message"] if path == ANTHROPIC.path else "content_filter")


def test_retry_after_is_the_services_own(gateway, wire):
    answer = gateway.ask(wire, '[[sim: fault=finish_code after=0 finish=429 reason="retry after 29 s"]] x')
    assert answer.headers["retry-after"] == "29"
