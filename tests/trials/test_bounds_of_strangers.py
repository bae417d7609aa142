"""What somebody without a key can hold of a gateway: little, and not for long."""

import json
import socket
from contextlib import suppress

import psutil
import pytest

from tests.e2e.formats import OPENAI, send
from tests.e2e.installation import KEY, OTHER_KEY, Gateway, until

HOST = b"Host: localhost\r\n"
CHUNK = b"10000\r\n" + b"z" * 65536 + b"\r\n"
MIB = 1 << 20
ALLOWED_GROWTH = 24 * MIB

ENDLESS = {
    "a field": (b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-A: ", b"a" * 65536),
    "many fields": (b"GET /healthz HTTP/1.1\r\n" + HOST, b"X-A: aaaaaaaaaa\r\n" * 4096),
    "a target": (b"GET /", b"a" * 65536),
    "a body for Django": (b"POST /admin/login/ HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n", CHUNK),
    "a body without a key": (
        b"POST /v1/chat/completions HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n", CHUNK,
    ),
    "requests in a row": (b"", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000),
}  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory, template):
    """A gateway that may have 200 descriptors, as on a host that allows no more, and hold 64 MiB of bodies."""
    command = ("prlimit", "--nofile=200:200")
    with Gateway(
        tmp_path_factory.mktemp("small"), template, launcher=command, REQUEST_BUFFER_BYTES=str(64 * MIB)
    ) as running:
        yield running


def connect(gateway):
    return socket.create_connection(("127.0.0.1", gateway.port), 10)


def pour(gateway, first, part, most=200 * MIB):
    """Send as much as the other side takes; read what it says."""
    sent = 0
    with connect(gateway) as stranger, suppress(OSError):
        stranger.sendall(first)
        while sent < most:
            stranger.sendall(part)
            sent += len(part)
    return sent


@pytest.mark.parametrize("name", ENDLESS)
def test_endless_input_is_cut_unnoticed(gateway, name):
    process = psutil.Process(gateway.processes[0].pid)
    pour(gateway, *ENDLESS[name], most=MIB)
    before = process.memory_info().rss
    assert pour(gateway, *ENDLESS[name]) < 128 * MIB
    assert process.memory_info().rss - before < ALLOWED_GROWTH
    assert [file.path for file in process.open_files() if "deleted" in file.path] == []
    assert gateway.ask(OPENAI, "[[sim: text=hello]] x").text == "hello"


@pytest.mark.parametrize("path", ["/admin/login/", "/v1/chat/completions", "/v1/messages", "/v1/responses"])
def test_a_length_behind_thousands_of_zeros_breaks_nothing(gateway, path):
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {KEY}"]
    lines += [f"Content-Length: {'0' * 5000}2", "Connection: close", "", "{}"]
    with connect(gateway) as client:
        client.sendall("\r\n".join(lines).encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_path_of_64_kib_costs_a_short_line(gateway):
    before = len(gateway.output())
    assert send(gateway, "GET", "/" + "eyJ-" * 16_000).status == 404
    assert until(lambda: "Not Found: /eyJ-" in gateway.output()[before:])
    assert len(gateway.output()) - before < 10_000


def test_silence_does_not_keep_others_out(small):
    silent = [connect(small) for _ in range(400)]
    for number, stranger in enumerate(silent):
        if number % 2:
            with suppress(OSError):
                stranger.sendall(b"GET /healthz HTTP/1.1\r\nHos")
    for _ in range(5):
        assert send(small, "GET", "/healthz").status == 200
    refused = send(small, "POST", OPENAI.path, key=KEY, body=OPENAI.body("x"))
    assert (refused.status, refused.headers["retry-after"]) == (503, "5")
    assert until(lambda: small.output().count("too_many_connections; ")) == 1
    for stranger in silent:
        stranger.close()
    assert until(lambda: small.ask(OPENAI, "[[sim: text=hello]] x").status == 200)


def test_half_sent_bodies_leave_room_for_others(small, wire):
    head = f"POST {wire.path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
    head = f"{head}Content-Length: {20 * MIB}\r\n\r\n".encode()
    with connect(small) as first, connect(small) as second:
        first.sendall(head + b" " * 18 * MIB)
        with suppress(OSError):  # its end may come before all is sent
            second.sendall(head + b" " * 18 * MIB)
        assert second.recv(1000).startswith(b"HTTP/1.1 429 ")
        answer = small.ask(wire, "[[sim: text=hello]] " + "y" * MIB, key=OTHER_KEY)
        assert (answer.status, answer.text) == (200, "hello")
    assert until(lambda: small.ask(wire, "[[sim: text=hello]] " + "y" * 20 * MIB).status != 429)


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "TLS/1.0"])
def test_an_upgrade_is_ignored_and_the_request_answered(gateway, wire, protocol):
    headers = {
        "connection": "Upgrade, HTTP2-Settings",
        "upgrade": protocol,
        "http2-settings": "AAMAAABkAAQCAAAAAAIAAAAA",
    }
    answer = send(gateway, "POST", wire.path, key=KEY, body=wire.body("[[sim: text=hello]] x"), headers=headers)
    assert (answer.status, answer.text) == (200, "hello")
    assert "WebSocket" not in gateway.output()


def test_a_websocket_is_refused_as_a_get(gateway):
    headers = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "a" * 22,
    }
    answer = send(gateway, "GET", "/v1/responses", key=KEY, headers=headers)
    assert answer.status == 405
    assert send(gateway, "GET", "/nope", headers=headers).status == 404


def test_http_1_0_stream_has_no_chunk_sizes(gateway, wire):
    body = json.dumps(wire.body("[[sim: text=hello]] x", stream=True)).encode()
    lines = [f"POST {wire.path} HTTP/1.0", f"Authorization: Bearer {KEY}", f"Content-Length: {len(body)}", "", ""]
    with connect(gateway) as client:
        client.sendall("\r\n".join(lines).encode() + body)
        head, _, events = b"".join(iter(lambda: client.recv(65536), b"")).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert {line.partition(b":")[0] for line in events.split(b"\n") if line} <= {b"data", b"event", b""}
