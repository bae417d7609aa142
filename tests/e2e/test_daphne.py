"""The same gateway under daphne: once each what a server has a hand in."""

import http.client
import os
import time

import anthropic
import openai
import pytest

from tests.e2e.formats import ANTHROPIC, OPENAI, Answer, Stream, exchange, head_of, send
from tests.e2e.installation import KEY, OTHER_KEY, Gateway, until
from tests.e2e.test_hang_up import LONG, left
from tests.e2e.test_http_edges import HELLO, is_error_of, post
from tests.e2e.watching import begun, watching

SAY = '[[sim: text="Hello from the other side" size=4 usage="31,7"]] Say hello'
TURN = [{"role": "user", "content": SAY}]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, template):
    """The shared gateway's settings, served by daphne."""
    with Gateway(
        tmp_path_factory.mktemp("daphne"),
        template,
        GATEWAY_SERVER="daphne",
        TRUSTED_PROXIES="10.9.9.9",
        DRAIN_SEC="300",
    ) as running:
        yield running
    assert running.left_behind == []


def test_whole_reply_has_headers_and_row(gateway, wire):
    answer = gateway.ask(wire, SAY)
    assert (answer.text, answer.finish, answer.usage) == ("Hello from the other side", wire.done, (31, 7))
    assert answer.headers["x-lingma-instance"] == "w1-i1"
    assert answer.headers["x-lingma-upstream"] == "simulator"
    assert answer.headers["x-lingma-queue-ms"].isdigit()
    assert answer.headers["x-lingma-first-token-ms"].isdigit()
    assert answer.headers["x-lingma-total-ms"].isdigit()
    row = gateway.row(answer.headers["x-request-id"])
    assert (row["status"], row["prompt_tokens"], row["completion_tokens"]) == ("ok", 31, 7)


def test_stream_is_not_held_back(gateway, wire):
    with Stream(gateway, wire, '[[sim: text="first second" chunks=2 delay_ms=20000]] x', key=KEY) as running:
        running.until(b"first")
        assert running.response.headers["cache-control"] == "no-cache"
        assert running.response.headers["x-accel-buffering"] == "no"


def test_connection_survives_errors_and_streams(gateway, wire):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    for key, body, status in (
        (KEY, b"{", 400),
        (None, wire.body(HELLO), 401),
        (KEY, wire.body("[[sim: fault=finish_code after=0]] x"), 502),
        (KEY, wire.body(HELLO, stream=True), 200),
        (KEY, wire.body(HELLO), 200),
    ):
        answer = exchange(connection, "POST", wire.path, key=key, body=body)
        first = connection.sock
        assert answer.status == status
        assert answer.text == "hello" if status == 200 else is_error_of(wire, answer)
        assert answer.headers.get("request-id") == (answer.headers["x-request-id"] if wire is ANTHROPIC else None)
        assert exchange(connection, "GET", "/v1/models", key=KEY).status == 200
        assert connection.sock is first is not None
    connection.close()


def test_conversation_goes_on_in_its_session(gateway):
    asked = {"role": "user", "content": HELLO + " begin"}
    begun = gateway.ask(OPENAI, [asked])
    messages = [asked, {"role": "assistant", "content": begun.text}, {"role": "user", "content": HELLO}]
    assert gateway.ask(OPENAI, messages).headers["x-lingma-session"] == "reused"


def test_error_before_first_byte_is_a_status(gateway, wire):
    answer = gateway.ask(wire, "[[sim: fault=finish_code after=0 finish=429]] x", stream=True)
    assert (answer.status, answer.headers["content-type"]) == (429, "application/json")
    assert 1 <= int(answer.headers["retry-after"]) <= 30
    assert answer.error["type"] == "rate_limit_error"


def test_error_after_first_byte_ends_the_stream(gateway, wire):
    marker = '[[sim: text="so far" chunks=2 after=2 fault=finish_code finish=500]] x'
    answer = gateway.ask(wire, marker, stream=True)
    assert (answer.status, answer.text, answer.finish) == (200, "so far", None)
    assert answer.error["type"] == ("api_error" if wire is ANTHROPIC else "server_error")
    assert b"[DONE]" not in answer.body
    assert b"message_stop" not in answer.body


def test_hang_up_in_mid_stream_stops_turn(gateway):
    question = "leaves in mid-stream"
    with Stream(gateway, OPENAI, LONG + question, key=KEY, model=question) as stream:
        stream.until(b"first")
        left_at = time.time()
    row = left(gateway, question, left_at)
    assert row["completion_tokens"] > 0
    assert row["request_id"] == stream.request_id


def test_hang_up_before_first_token_stops_turn(gateway):
    question = "leaves before the first token"
    with Stream(gateway, ANTHROPIC, f"[[sim: text=x first_ms=60000]] {question}", key=KEY, model=question):
        until(lambda: gateway.asks(question))
        left_at = time.time()
    assert left(gateway, question, left_at)["first_token_ms"] is None


def test_hang_up_on_whole_reply_stops_turn(gateway):
    question = "leaves a whole reply"
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    data, headers = head_of(OPENAI.body(LONG + question, model=question), KEY, None)
    connection.request("POST", OPENAI.path, body=data, headers=headers)
    until(lambda: gateway.asks(question))
    left_at = time.time()
    connection.close()
    assert left(gateway, question, left_at)["stream"] is False


def test_unnamed_proxy_is_not_believed(gateway):
    headers = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https"}
    answer = send(gateway, "POST", OPENAI.path, key=KEY, body=OPENAI.body("[[sim: text=hello]] x"), headers=headers)
    assert gateway.row(answer.headers["x-request-id"])["client"] == "127.0.0.1"


def test_large_bodies_are_read_or_refused(gateway, wire):
    assert post(gateway, wire, body=wire.body("word " * 800_000 + HELLO)).text == "hello"
    for body in (b" " * (33 << 20), iter([b" " * (1 << 20)] * 33)):
        answer = post(gateway, wire, body=body)
        assert (answer.status, answer.headers["x-should-retry"]) == (413, "false")
        assert is_error_of(wire, answer)


def test_large_body_is_refused_before_it_comes(gateway, wire):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    connection.putrequest("POST", wire.path)
    connection.putheader("authorization", f"Bearer {KEY}")
    connection.putheader("content-length", str(33 << 20))
    connection.endheaders()
    with connection.getresponse() as response:
        answer = Answer(
            response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        )
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert is_error_of(wire, answer)
    connection.close()


def test_large_body_for_django_is_refused(gateway):
    answer = send(gateway, "POST", "/admin/login/", body=b"a" * (3 << 20))
    assert answer.status == 413


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_other_methods_are_405_in_format_of_path(gateway, wire, method):
    answer = send(gateway, method, wire.path, key=KEY)
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert answer.body == b"" if method == "HEAD" else is_error_of(wire, answer)


def test_unknown_path_is_404_by_version_header(gateway):
    for wire, headers in ((OPENAI, {}), (ANTHROPIC, {"anthropic-version": "2023-06-01"})):
        answer = send(gateway, "GET", "/v1/nope", key=KEY, headers=headers)
        assert answer.status == 404
        assert is_error_of(wire, answer)


def test_one_header_with_two_keys_is_refused(gateway):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    connection.putrequest("GET", "/v1/models")
    for key in (KEY, OTHER_KEY):
        connection.putheader("x-api-key", key)
    connection.endheaders()
    with connection.getresponse() as answer:
        assert (answer.status, b"Two different x-api-key headers" in answer.read()) == (400, True)
    connection.close()


def test_expectation_of_100_continue_is_met(gateway):
    headers = {"expect": "100-continue"}
    assert post(gateway, OPENAI, headers=headers).text == "hello"


def test_sdks_get_one_turn_per_protocol(gateway):
    url = f"http://127.0.0.1:{gateway.port}"
    with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as oai:
        chunks = list(oai.chat.completions.create(model="org_auto", messages=TURN, stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello from the other side"
        with oai.responses.stream(model="org_auto", input=SAY) as stream:
            assert stream.get_final_response().output_text == "Hello from the other side"
    with (
        anthropic.Anthropic(base_url=url, api_key=KEY, max_retries=0) as ant,
        ant.messages.stream(model="org_auto", messages=TURN, max_tokens=100) as stream,
    ):
        assert stream.get_final_text() == "Hello from the other side"


def test_loop_gives_signs_of_life(gateway):
    mine, theirs = os.pipe()
    with os.fdopen(mine, "rb", buffering=0) as signs:
        process = gateway.start(1, theirs, GATEWAY_LIFE_FD=str(theirs))
        try:
            os.close(theirs)
            assert b"".join(signs.read(1) for _ in range(4)) == b"1..."
        finally:
            process.kill()
            process.wait()


def test_live_page_has_its_socket(gateway):
    with Stream(gateway, OPENAI, '[[sim: text="first second" chunks=2 delay_ms=20000]] x', key=KEY) as running:
        running.until(b"first")
        with watching(gateway) as found:
            turn = begun(found(lambda it: begun(it, running.request_id)), running.request_id)
    assert (turn["instance"], turn["key_name"]) == ("w1-i1", "alice")


def test_sigterm_lets_a_running_stream_end(gateway):
    """The last one: it ends what the others share. Nobody waits for who watches."""
    (process,) = gateway.processes
    with watching(gateway) as found:
        assert found(lambda it: it["instances"])
        with Stream(gateway, OPENAI, '[[sim: text="one two three" chunks=3 delay_ms=700]] x', key=KEY) as running:
            running.until(b"one ")
            process.terminate()
            answer = running.rest()
        assert (answer.text, answer.finish, answer.error) == ("two three", "stop", None)
        assert process.wait(30) == 0
    assert gateway.row(running.request_id)["status"] == "ok"
