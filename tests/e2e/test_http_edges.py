"""HTTP as clients, proxies and people use it: the pitfalls (FORMATS 10) that concern HTTP itself."""

import gzip
import http.client
import json
import re
import sys
import zlib

import pytest

from tests.e2e.formats import ANTHROPIC, FORMATS, OPENAI, Answer, Stream, exchange, send
from tests.e2e.installation import EXPIRED_KEY, KEY, OTHER_KEY

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

HELLO = "[[sim: text=hello]] x"
POST_PATHS = ("/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens")
ENDPOINTS = {
    OPENAI.path: OPENAI.body(HELLO),
    ANTHROPIC.path: ANTHROPIC.body(HELLO),
    "/v1/messages/count_tokens": ANTHROPIC.body(HELLO),
    "/v1/responses": {"model": "org_auto", "input": HELLO},
    "/v1/responses/input_tokens": {"model": "org_auto", "input": HELLO},
}


def post(gateway, wire, *, query="", key=KEY, headers=None, body=None, path=None):
    body = wire.body(HELLO) if body is None else body
    return send(gateway, "POST", (path or wire.path) + query, key=key, body=body, headers=headers)


def is_error_of(wire, answer):
    told = answer.json()
    if wire.name == "openai":
        return set(told) == {"error"} and set(told["error"]) == {"message", "type", "param", "code"}
    return (
        told["type"] == "error" and {"type", "message"} <= set(told["error"]) and told["request_id"].startswith("req_")
    )


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream", "*/*", "text/html", "nonsense"])
def test_accept_header_decides_nothing(gateway, wire, stream, accept):
    answer = post(gateway, wire, headers={"accept": accept}, body=wire.body(HELLO, stream=stream))
    assert (answer.status, answer.streamed, answer.text) == (200, stream, "hello")


@pytest.mark.parametrize("query", ["?beta=true", "/", "/?beta=true", "?a=1&b=2"])
def test_query_or_trailing_slash_changes_nothing(gateway, wire, query):
    assert post(gateway, wire, query=query).text == "hello"


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "application/x-www-form-urlencoded"}, {"content-type": "text/plain"},
        {"anthropic-version": "2023-06-01"}, {"anthropic-version": "2026-10-21"},
        {"anthropic-beta": "some-future-beta-2027-01-01,another"}, {"accept-encoding": "gzip, deflate, br, zstd"},
        {"x-stainless-lang": "NOT_GIVEN", "sec-fetch-mode": "cors", "accept-language": "*", "origin": "https://a.example"},
    ],
)  # fmt: skip
def test_client_headers_do_not_get_in_the_way(gateway, wire, headers):
    answer = post(gateway, wire, headers=headers, body=wire.body(HELLO, stream=True))
    assert answer.text == "hello"
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("key", "headers"),
    [
        (None, {"x-api-key": KEY}), (KEY, {}), (None, {"authorization": f"bearer {KEY}"}),
        (None, {"authorization": f"BEARER  {KEY}"}), (KEY, {"x-api-key": "wrong"}), ("wrong", {"x-api-key": KEY}),
        (KEY, {"x-api-key": KEY}),
    ],
)  # fmt: skip
def test_the_key_comes_in_either_header(gateway, wire, key, headers):
    assert post(gateway, wire, key=key, headers=headers).status == 200


@pytest.mark.parametrize("name", ["authorization", "x-api-key"])
@pytest.mark.parametrize("path", [*ENDPOINTS, "/v1/models"])
def test_one_header_with_two_keys_is_refused(gateway, path, name):
    def asked(*keys):
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
        body = json.dumps(ENDPOINTS[path]).encode() if path in ENDPOINTS else b""
        connection.putrequest("POST" if body else "GET", path)
        connection.putheader("content-length", str(len(body)))
        for key in keys:
            connection.putheader(name, f"Bearer {key}" if name == "authorization" else key)
        connection.endheaders(body)
        with connection.getresponse() as answer:
            told = Answer(answer.status, {}, answer.read())
        connection.close()
        return told

    refused = asked(KEY, OTHER_KEY)
    assert (refused.status, f"Two different {name} headers" in refused.error["message"]) == (400, True)
    assert asked("wrong-" * 5, KEY).status == asked(KEY, "wrong-" * 5).status == 400
    assert asked(KEY, KEY).status == 200


def test_bad_keys_are_all_refused_alike(gateway, wire):
    def body(key):
        answer = post(gateway, wire, key=key)
        assert (answer.status, answer.headers["x-should-retry"]) == (401, "false")
        return answer.body.replace(answer.headers["x-request-id"].encode(), b"")

    assert len({body(key) for key in ("lgw_unknown", EXPIRED_KEY, None, "x" * 5000)}) == 1


def test_a_key_in_the_query_opens_nothing(gateway, wire):
    assert post(gateway, wire, key=None, query=f"?api_key={KEY}&key={KEY}").status == 401


@pytest.mark.parametrize("path", POST_PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_405_in_format_of_path(gateway, method, path):
    answer = send(gateway, method, path, key=KEY)
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert method == "HEAD" or is_error_of(OPENAI if "chat" in path else ANTHROPIC, answer)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_models_are_only_read(gateway, method):
    answer = send(gateway, method, "/v1/models", key=KEY, body={})
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "path", ["/v1/nope", "/v1/", "/v1", "/v1/files", "/v1/chat", "/v1/messages/batches", "/v1/embeddings"]
)
def test_unknown_path_is_404_by_version_header(gateway, path):
    for wire, headers in ((OPENAI, {}), (ANTHROPIC, {"anthropic-version": "2023-06-01"})):
        answer = send(gateway, "GET", path, key=KEY, headers=headers)
        assert (answer.status, answer.headers["x-should-retry"]) == (404, "false")
        if "messages" not in path:
            assert is_error_of(wire, answer)


WRONG_BASE_URLS = {
    "/chat/completions": OPENAI, "/completions": OPENAI, "/responses": OPENAI, "/models": OPENAI, "/embeddings": OPENAI,
    "/v1/v1/chat/completions": OPENAI, "/api/v1/responses": OPENAI, "/v1/completions": OPENAI,
    "/messages": ANTHROPIC, "/v1/v1/messages": ANTHROPIC, "/api/v1/messages": ANTHROPIC,
    "/anthropic/v1/messages": ANTHROPIC,
    "/v1/messages/no/such/thing": ANTHROPIC, "/messages/count_tokens": ANTHROPIC,
}  # fmt: skip


@pytest.mark.parametrize(("path", "spoken"), WRONG_BASE_URLS.items(), ids=WRONG_BASE_URLS)
def test_wrong_base_url_is_answered_with_right_one(gateway, path, spoken):
    for method in ("POST", "GET", "OPTIONS", "DELETE"):
        answer = send(gateway, method, path, key=KEY, body={} if method == "POST" else None)
        chat = (
            method == "POST" and spoken is ANTHROPIC and path.endswith("/messages")
        )  # Claude Code hides a 404's words
        assert (answer.status, answer.headers["x-should-retry"]) == (400 if chat else 404, "false")
        assert is_error_of(spoken, answer)
        assert "/v1" in answer.json()["error"]["message"]
    head = send(gateway, "HEAD", path)
    assert (head.status, head.body, head.headers["content-type"]) == (404, b"", "application/json")


def test_models_come_in_shape_of_version_header(gateway):
    plain = send(gateway, "GET", "/v1/models", headers={"x-api-key": KEY}).json()
    versioned = send(gateway, "GET", "/v1/models", key=KEY, headers={"anthropic-version": "2026-10-21"}).json()
    assert plain["object"] == "list"
    assert plain["data"][0]["object"] == "model"
    assert versioned["data"][0]["type"] == "model"
    assert versioned["has_more"] is False


def test_an_unknown_model_is_404_in_both_formats(gateway):
    for wire, headers in ((OPENAI, {}), (ANTHROPIC, {"anthropic-version": "2023-06-01"})):
        answer = send(gateway, "GET", "/v1/models/llama-99", key=KEY, headers=headers)
        assert answer.status == 404
        assert is_error_of(wire, answer)


def test_a_connection_survives_errors(gateway, wire):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    good = {"key": KEY, "body": wire.body(HELLO)}
    for key, body in (
        (KEY, b"{"),
        (None, wire.body(HELLO)),
        (KEY, wire.body("[[sim: fault=finish_code after=0]] x")),
    ):
        bad = exchange(connection, "POST", wire.path, key=key, body=body)
        first_socket = connection.sock
        assert bad.status in {400, 401, 502}
        assert exchange(connection, "POST", wire.path, **good).status == 200
        assert connection.sock is first_socket is not None
    connection.close()


def test_a_connection_survives_a_stream(gateway, wire):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    for _ in range(3):
        assert exchange(connection, "POST", wire.path, key=KEY, body=wire.body(HELLO, stream=True)).text == "hello"
    connection.close()


def test_a_gzipped_body_is_understood(gateway, wire):
    body = gzip.compress(json.dumps(wire.body(HELLO)).encode())
    assert post(gateway, wire, body=body, headers={"content-encoding": "gzip"}).text == "hello"


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", "deflate", "zstd", "identity"])
def test_body_is_read_in_each_offered_encoding(gateway, path, encoding):
    plain = json.dumps(ENDPOINTS[path]).encode()
    body = {"deflate": zlib.compress, "zstd": zstd.compress, "identity": bytes}.get(encoding, gzip.compress)(plain)
    assert send(gateway, "POST", path, key=KEY, body=body, headers={"content-encoding": encoding}).status == 200


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("encoding", ["br", "compress", "gzip, gzip", "zstd, gzip", "gzip, identity", "nonsense"])
def test_unread_encoding_is_415_with_a_list(gateway, path, encoding):
    body = gzip.compress(json.dumps(ENDPOINTS[path]).encode())
    answer = send(gateway, "POST", path, key=KEY, body=body, headers={"content-encoding": encoding})
    assert (answer.status, answer.headers["accept-encoding"]) == (415, "gzip, deflate, zstd")
    assert answer.headers["x-should-retry"] == "false"
    assert is_error_of(ANTHROPIC if "messages" in path else OPENAI, answer)


def test_two_encoding_headers_are_refused(gateway):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    connection.putrequest("POST", OPENAI.path)
    body = gzip.compress(json.dumps(OPENAI.body(HELLO)).encode())
    told = [("content-encoding", "gzip"), ("content-encoding", "gzip"), ("content-length", str(len(body)))]
    for name, value in [*told, ("authorization", f"Bearer {KEY}")]:
        connection.putheader(name, value)
    connection.endheaders(body)
    with connection.getresponse() as answer:
        assert answer.status == 415
    connection.close()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_body_unlike_its_encoding_is_400(gateway, wire, encoding):
    answer = post(gateway, wire, headers={"content-encoding": encoding})
    assert answer.status == 400
    assert is_error_of(wire, answer)


def test_small_body_growing_two_hundredfold_is_413(gateway, wire):
    bomb = zstd.compress(json.dumps(wire.body(HELLO)).encode() + b" " * (8 << 20))
    answer = post(gateway, wire, body=bomb, headers={"content-encoding": "zstd"})
    assert answer.status == 413
    assert is_error_of(wire, answer)


def test_a_body_of_33_mib_is_413(gateway, wire):
    answer = post(gateway, wire, body=b" " * (33 << 20))
    assert (answer.status, answer.headers["x-should-retry"]) == (413, "false")
    assert is_error_of(wire, answer)


def test_a_chunked_body_of_33_mib_is_413(gateway, wire):
    answer = post(gateway, wire, body=iter([b" " * (1 << 20)] * 33))
    assert answer.status == 413


def test_a_gzip_bomb_is_413(gateway, wire):
    answer = post(gateway, wire, body=gzip.compress(b" " * (64 << 20), 9), headers={"content-encoding": "gzip"})
    assert answer.status == 413


def test_a_body_of_4_mib_is_fine(gateway, wire):
    assert post(gateway, wire, body=wire.body("word " * 800_000 + HELLO)).text == "hello"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"{}", b'{"model": 7}'])
def test_a_body_that_makes_no_sense_is_400(gateway, wire, body):
    answer = post(gateway, wire, body=body)
    assert answer.status == 400
    assert is_error_of(wire, answer)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"messages": None}, "messages"), ({"messages": []}, "messages"), ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "boss", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text"),
        ({"messages": [{"content": "x"}]}, "messages.0.role"),
        ({"model": 7}, "model"), ({"stream": "yes"}, "stream"), ({"max_tokens": "many"}, "max_tokens"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_by_its_path(gateway, wire, change, where):
    answer = post(gateway, wire, body=wire.body(HELLO) | change)
    assert answer.status == 400
    spelled = re.sub(r"\.(\d+)", r"[\1]", where) if wire.name == "openai" else where
    assert spelled in answer.json()["error"]["message"]


@pytest.mark.parametrize("change", [{"thread": {"id": "t"}}, {"container": "c"}, {"mcp_servers": [{"name": "m"}]}])
def test_messages_refuses_fields_that_move_state_here(gateway, change):
    assert post(gateway, ANTHROPIC, body=ANTHROPIC.body(HELLO) | change).status == 400


@pytest.mark.parametrize("change", [{"n": 2}, {"audio": {"voice": "alloy", "format": "wav"}, "modalities": ["audio"]}])
def test_chat_completions_refuses_fields_that_change_answers(gateway, change):
    assert post(gateway, OPENAI, body=OPENAI.body(HELLO) | change).status == 400


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0.3, "top_p": 0.9, "seed": 7, "logprobs": True, "user": "u", "n": 1, "stop": None},
        {"nonsense": {"deep": [1]}, "metadata": {"a": "b"}, "service_tier": "whatever", "reasoning_effort": "future"},
        {"context_management": {"edits": []}, "output_config": {"effort": "new"}, "thinking": None, "store": None},
    ],
)  # fmt: skip
def test_fields_that_cannot_be_honoured_are_ignored(gateway, wire, change):
    assert post(gateway, wire, body=wire.body(HELLO) | change).text == "hello"


def test_a_stream_is_not_held_back(gateway, wire):
    with Stream(gateway, wire, '[[sim: text="first second" chunks=2 delay_ms=20000]] x', key=KEY) as running:
        running.until(b"first")
        assert running.response.headers["cache-control"] == "no-cache"
        assert running.response.headers["x-accel-buffering"] == "no"


@pytest.mark.parametrize("path", POST_PATHS)
def test_100_continue_is_answered(gateway, path):
    body = OPENAI.body(HELLO) | {"max_tokens": 10}
    answer = send(gateway, "POST", path, key=KEY, body=body, headers={"expect": "100-continue"})
    assert answer.status == 200


def test_answers_set_no_cookie_and_never_redirect(gateway):
    for path in ("/v1/models/", "/v1/chat/completions/", "/healthz/", "/v1/nope/"):
        answer = send(gateway, "GET", path, key=KEY)
        assert answer.status in {200, 404, 405}
        assert "set-cookie" not in answer.headers


def test_probes_of_clients_do_no_harm(gateway):
    for path in ("/api/hello", "/", "/chat/completions"):
        assert send(gateway, "HEAD", path).status < 500
    assert send(gateway, "GET", "/api/hello").json() == {"message": "hello"}
    assert not [line for line in gateway.output().splitlines() if "Not Found" in line and "/api/hello" in line]


def test_retries_are_called_for_only_where_they_help(gateway, wire):
    bad = [post(gateway, wire, key="wrong"), post(gateway, wire, body=b"{"), send(gateway, "GET", wire.path)]
    failed = post(gateway, wire, body=wire.body("[[sim: fault=finish_code after=0]] x"))
    assert [answer.headers.get("x-should-retry") for answer in (*bad, failed)] == ["false", "false", "false", None]


def test_rate_limit_headers_are_of_one_format(gateway):
    for wire, foreign in zip(FORMATS, ("anthropic-ratelimit", "x-ratelimit"), strict=True):
        answer = post(gateway, wire)
        assert not [name for name in answer.headers if name.startswith(foreign)]
