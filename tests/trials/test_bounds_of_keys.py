"""What one key can hold of a gateway beside all others."""

import gzip
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psutil
import pytest

from tests.e2e.formats import OPENAI, Stream, send
from tests.e2e.installation import KEY, OTHER_KEY, Gateway, until

MIB = 1 << 20


def rss(gateway):
    return psutil.Process(gateway.processes[0].pid).memory_info().rss


def test_reader_of_small_pieces_costs_little(gateway, wire):
    """Of 20 KB of text in pieces of one character, 5 MB would be sent."""
    gateway.ask(wire, "[[sim: text=warm size=1]] x", stream=True)
    before = rss(gateway)
    with ExitStack() as stack:
        names = [f"deaf {wire} {number}" for number in range(4)]
        for name in names:
            prompt = "[[sim: echo=prompt size=1]] " + "y" * 20_000
            stack.enter_context(Stream(gateway, wire, prompt, key=KEY, receive_buffer=4096, model=name))
        for _ in range(5):
            assert gateway.ask(OPENAI, "[[sim: text=hello]] x", key=OTHER_KEY).status == 200
        assert rss(gateway) - before < 48 * MIB
    assert {gateway.row_of_model(name)["status"] for name in names} <= {"ok", "error", "cancelled"}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_a_prompt_beyond_all_models_harms_nobody_else(gateway, stream):
    with Stream(gateway, OPENAI, '[[sim: text="still here" chunks=2 delay_ms=1500]] x', key=OTHER_KEY) as other:
        other.until(b"still")
        large = gateway.ask(OPENAI, "[[sim: text=hello]] " + "word " * 5_000_000, stream=stream)
        assert (large.status, large.json()["error"]["code"]) == (400, "context_length_exceeded")
        assert other.rest().finish == "stop"
    assert gateway.ask(OPENAI, "[[sim: text=hello]] x").text == "hello"


def test_name_too_long_for_each_piece_is_refused(gateway, wire):
    body = json.dumps(wire.body("[[sim: chunks=600]] x", stream=True, model="m" * MIB)).encode()
    answer = send(gateway, "POST", wire.path, key=KEY, body=gzip.compress(body), headers={"content-encoding": "gzip"})
    assert answer.status in {400, 404}


@pytest.fixture(scope="module")
def small(tmp_path_factory, template):
    """A gateway that may hold 64 MiB of bodies, of one key 32."""
    with Gateway(tmp_path_factory.mktemp("keys"), template, REQUEST_BUFFER_BYTES=str(64 * MIB)) as running:
        yield running


def stored(gateway, size):
    """The id of a response whose input has so many bytes."""
    body = {"model": "org_auto", "input": "[[sim: text=hello]] " + "y" * size}
    return send(gateway, "POST", "/v1/responses", key=KEY, body=body).json()["id"]


def deaf(gateway, stack, path):
    """Ask, and read nothing but the status."""
    client = stack.enter_context(socket.socket())
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(30)
    client.connect(("127.0.0.1", gateway.port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode())
    return int(client.recv(12)[9:])


def test_unread_stored_responses_count_as_bodies(small):
    path = f"/v1/responses/{stored(small, 6 * MIB)}/input_items"
    with ExitStack() as stack:
        statuses = [deaf(small, stack, path) for _ in range(8)]
        assert set(statuses) == {200, 429}
        assert 1 <= statuses.count(200) <= 5
        assert small.ask(OPENAI, "[[sim: text=hello]] " + "y" * MIB, key=OTHER_KEY).text == "hello"
    assert until(lambda: send(small, "GET", path, key=KEY).status == 200)


def test_large_stored_responses_leave_the_store_to_others(gateway):
    mine = f"/v1/responses/{stored(gateway, 6 * MIB)}/input_items"
    body = {"model": "org_auto", "input": "[[sim: text=hello]] x"}
    other = send(gateway, "POST", "/v1/responses", key=OTHER_KEY, body=body).json()["id"]
    with ThreadPoolExecutor(20) as threads:
        flood = [threads.submit(send, gateway, "GET", mine, key=KEY) for _ in range(60)]
        statuses = [send(gateway, "GET", f"/v1/responses/{other}", key=OTHER_KEY).status for _ in range(20)]
        assert {each.result().status for each in flood} <= {200, 429, 503}
    assert set(statuses) == {200}


def test_large_answer_read_slowly_arrives_whole(gateway, stream):
    body = {"model": "org_auto", "input": "[[sim: text=hello]] x", "instructions": "y" * 500_000, "stream": stream}
    answer = send(gateway, "POST", "/v1/responses", key=KEY, body=body)
    assert answer.status == 200
    assert answer.body.count(b"y" * 500_000) >= 1
