"""Web pages that call `/v1`: only those of origins that are allowed, and without a key before the browser has asked."""

import pytest

from tests.e2e.fixtures import APP
from tests.e2e.formats import ANTHROPIC, OPENAI, send
from tests.e2e.installation import KEY

HELLO = "[[sim: text=hello]] x"
PATHS = (
    OPENAI.path,
    ANTHROPIC.path,
    "/v1/messages/count_tokens",
    "/v1/responses",
    "/v1/models",
    "/v1/nope",
    "//v1/models",
)
ASKS = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,x-stainless-lang,x-some-future-header",
}


@pytest.fixture
def open_(mortal):
    """Two origins are allowed."""
    return mortal


def told(answer):
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control")}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("origin", [APP, "http://localhost:3000", "HTTPS://APP.example.com"])
def test_a_preflight_is_answered_without_a_key(open_, path, origin):
    answer = send(open_, "OPTIONS", path, headers={"origin": origin, **ASKS})
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-allow-headers"] == ASKS["access-control-request-headers"]
    assert {"POST", "GET", "DELETE"} <= set(answer.headers["access-control-allow-methods"].split(", "))
    assert int(answer.headers["access-control-max-age"]) > 600
    assert "Origin" in answer.headers["vary"]
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=str)
def test_answers_and_streams_are_readable_by_the_page(open_, wire, stream):
    body = wire.body(HELLO, stream=stream)
    answer = send(open_, "POST", wire.path, key=KEY, body=body, headers={"origin": APP})
    assert (answer.status, answer.text) == (200, "hello")
    assert answer.headers["access-control-allow-origin"] == APP
    exposed = set(answer.headers["access-control-expose-headers"].split(", "))
    assert {"x-request-id", "retry-after", "x-should-retry"} <= exposed
    assert {name for name in answer.headers if name.startswith("x-lingma")} <= exposed
    assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    ("method", "path", "key", "body", "status"),
    [
        ("POST", OPENAI.path, None, OPENAI.body(HELLO), 401), ("POST", OPENAI.path, KEY, b"{", 400),
        ("PUT", OPENAI.path, KEY, b"", 405), ("GET", "/v1/nope", None, None, 404),
        ("POST", ANTHROPIC.path, KEY, ANTHROPIC.body("[[sim: fault=finish_code after=0 finish=500]] x"), 502),
    ],
)  # fmt: skip
def test_errors_may_be_read_by_the_page_too(open_, method, path, key, body, status):
    answer = send(open_, method, path, key=key, body=body, headers={"origin": APP})
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (status, APP)


@pytest.mark.parametrize(
    "origin", ["https://evil.example.com", "null", f"{APP}.evil.example", "http://localhost:3001", ""]
)
def test_other_pages_get_no_headers(open_, origin):
    assert told(send(open_, "OPTIONS", OPENAI.path, headers={"origin": origin, **ASKS})) == {}
    answer = send(open_, "POST", OPENAI.path, key=KEY, body=OPENAI.body(HELLO), headers={"origin": origin})
    assert (answer.status, told(answer), answer.headers["vary"]) == (200, {}, "Origin")


@pytest.mark.parametrize("asked", ["x" * 5000, "a\tb, c", "évil", ""])
def test_headers_are_granted_within_a_bound(open_, asked):
    asks = ASKS | {"access-control-request-headers": asked.encode()}
    answer = send(open_, "OPTIONS", OPENAI.path, headers={"origin": APP, **asks})
    assert answer.status == 204
    assert len(answer.headers["access-control-allow-headers"]) < 4100


def test_options_without_preflight_is_405_as_ever(open_):
    assert send(open_, "OPTIONS", OPENAI.path, key=KEY, headers={"origin": APP}).status == 405


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/admin/login/", "/api/docs/"])
def test_paths_beside_v1_are_closed_to_pages(open_, path):
    assert told(send(open_, "GET", path, headers={"origin": APP})) == {}
    assert told(send(open_, "OPTIONS", path, headers={"origin": APP, **ASKS})) == {}


def test_pages_may_not_call_by_default(gateway):
    answer = send(gateway, "OPTIONS", OPENAI.path, headers={"origin": APP, **ASKS})
    assert (answer.status, told(answer)) == (405, {})
    assert told(send(gateway, "GET", "/v1/models", key=KEY, headers={"origin": APP})) == {}
