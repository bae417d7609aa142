"""What one connection may hold: bytes, fields, requests and time."""

import asyncio
import logging
import socket
from contextlib import ExitStack, suppress

import pytest

from tests.gateway_project.served import HOST, Served, answers, echo, read_all, seen, until, whole_body

GET = b"GET /a HTTP/1.1\r\n" + HOST
POST = b"POST /a HTTP/1.1\r\n" + HOST
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
FOREVER = {"head_sec": 60, "idle_sec": 60, "body_silence_sec": 60, "unread_sec": 60}


def status_of(connection):
    return [answer[0] for answer in answers(read_all(connection))]


def pour(server, first, part, most):
    """Send parts until the other side has had enough; return how much that was, and what it said."""
    sent, told = 0, []
    with server.connect() as connection, suppress(OSError):
        connection.sendall(first)
        with suppress(OSError):
            while sent < most:
                connection.sendall(part)
                sent += len(part)
        told = status_of(connection)
    return sent, told


@pytest.fixture(scope="module")
def server():
    with Served(leftover_bytes=1 << 20) as running:
        yield running


ENDLESS = {
    "target": (b"GET /", b"a" * 65536),
    "query": (b"GET /?", b"a=b&" * 16384),
    "field": (GET + b"X-A: ", b"a" * 65536),
    "name of a field": (GET, b"a" * 65536),
    "many fields": (GET, b"X-A: aaaaaaaaaa\r\n" * 4096),
    "blank lines": (GET + b"X-A:", b" " * 65536),
    "trailer": (POST + CHUNKED + b"5\r\nhello\r\n0\r\nX-A: ", b"a" * 65536),
    "many trailers": (POST + CHUNKED + b"5\r\nhello\r\n0\r\n", b"X-A: aaaaaaaaaa\r\n" * 4096),
    "chunk extension": (POST + CHUNKED + b"5;a=", b"a" * 65536),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_endless_head_is_431(server, name):
    sent, statuses = pour(server, *ENDLESS[name], 64 << 20)
    assert sent < 16 << 20
    assert statuses in ([431], [])  # a client that goes on sending may lose the answer


def test_body_of_tiny_chunks_is_refused(server):
    sent, statuses = pour(server, POST + CHUNKED, b"1\r\na\r\n" * 8192, 64 << 20)
    assert sent < 32 << 20
    assert statuses in ([400], [])


def test_unwanted_body_of_tiny_chunks_is_cut():
    with Served() as server:
        sent, statuses = pour(server, b"POST /early HTTP/1.1\r\n" + HOST + CHUNKED, b"1\r\na\r\n" * 8192, 64 << 20)
    assert sent < 32 << 20
    assert statuses in ([200], [])


@pytest.mark.parametrize(("size", "status"), [(64, 200), (16, 400)])
def test_framing_is_a_share_of_the_body(size, status):
    body = (b"%x\r\n%b\r\n" % (size, b"a" * size)) * (400_000 // size)
    with Served(framing_bytes=2000) as server:
        told = server.talk(POST + b"Connection: close\r\n" + CHUNKED + body + b"0\r\n\r\n")
    assert [answer[0] for answer in told] == [status]


@pytest.mark.parametrize(
    ("target", "fields", "status"),
    [
        (b"/" + b"a" * 60_000, b"", 200),
        (b"/" + b"a" * 66_000, b"", 431),
        (b"/a", b"X-A: " + b"a" * 60_000 + b"\r\n", 200),
        (b"/" + b"a" * 33_000, b"X-A: " + b"a" * 33_000 + b"\r\n", 431),
        (b"/a", b"X-A: a\r\n" * 198, 200),
        (b"/a", b"X-A: a\r\n" * 199, 431),
    ],
    ids=lambda value: str(len(value)) if isinstance(value, bytes) else str(value),
)
@pytest.mark.parametrize("size", [1000, 1_000_000])
def test_target_and_fields_share_64_kib(server, target, fields, status, size):
    request = b"GET " + target + b" HTTP/1.1\r\n" + HOST + fields + b"Connection: close\r\n\r\n"
    told = server.talk(*(request[start : start + size] for start in range(0, len(request), size)))
    assert [answer[0] for answer in told] == [status]


def test_all_heads_together_are_bounded():
    with Served(all_heads_bytes=200_000, **FOREVER) as server, ExitStack() as held:
        first = [held.enter_context(server.connect()) for _ in range(4)]
        for connection in first:
            connection.sendall(GET + b"X-A: " + b"a" * 48_000)
        assert until(lambda: server.connections.head_bytes > 4 * 48_000)
        told = []
        for _ in range(3):
            with server.connect() as late:
                late.sendall(GET + b"X-A: " + b"a" * 48_000)
                told += answers(read_all(late))
        assert [answer[0] for answer in told] == [503] * 3
        error = seen(told[0])["error"]
        assert (error["type"], error["code"]) == ("service_unavailable_error", "server_is_overloaded")
        first[0].close()
        assert until(lambda: len(server.connections) == 3)
        late = held.enter_context(server.connect())
        late.sendall(GET + b"X-A: " + b"a" * 40_000)
        late.sendall(b"\r\nConnection: close\r\n\r\n")
        assert status_of(late) == [200]


def test_refusal_of_large_head_has_paths_shape(server):
    for path, keys in ((b"/v1/messages", {"type", "error", "request_id"}), (b"/v1/chat/completions", {"error"})):
        (told,) = server.talk(b"POST " + path + b" HTTP/1.1\r\n" + HOST + b"X-A: " + b"a" * 70_000 + b"\r\n\r\n")
        assert set(seen(told)) == keys
        assert "64 KiB" in seen(told)["error"]["message"]
        assert seen(told).get("request_id") == told[1].get("request-id")


def test_missing_head_is_not_waited_for():
    with Served(head_sec=1) as server, server.connect() as silent, server.connect() as half:
        half.sendall(GET)
        assert status_of(half) == [408]
        assert read_all(silent) == b""


def test_slow_head_is_not_waited_for():
    with Served(head_sec=1) as server, server.connect() as slow:
        slow.settimeout(0.02)
        slow.sendall(GET + b"X-A: ")
        assert until(lambda: drip(slow)).startswith(b"HTTP/1.1 408 ")


def drip(connection):
    """One byte more; what has come."""
    with suppress(ConnectionError):  # it may be over since the last one; what was said is there to read
        connection.sendall(b"a")
    try:
        return connection.recv(1000)
    except TimeoutError:
        return b""


def test_an_idle_connection_is_closed_quietly():
    with Served(idle_sec=0.2) as server, server.connect() as idle:
        idle.sendall(GET + b"\r\n")
        assert status_of(idle) == [200]


@pytest.mark.parametrize("framing", [b"Content-Length: 5\r\n\r\n", CHUNKED])
def test_a_body_that_stands_still_is_408(framing):
    with Served(body_silence_sec=0.2) as server, server.connect() as still:
        still.sendall(POST + framing)
        assert status_of(still) == [408]


def test_a_body_that_crawls_is_408():
    with Served(body_grace_sec=0.3, body_bytes_per_sec=1000) as server, server.connect() as slow:
        slow.settimeout(0.02)
        slow.sendall(POST + b"Content-Length: 100000\r\n\r\n")
        assert until(lambda: drip(slow)).startswith(b"HTTP/1.1 408 ")


def test_body_that_waits_for_us_is_not_hurried():
    release = {}

    async def busy(scope, receive, send):
        release["loop"], release["event"] = asyncio.get_running_loop(), asyncio.Event()
        await release["event"].wait()
        await echo(scope, receive, send)

    with Served(busy, body_silence_sec=0.2, body_grace_sec=0.2) as server, server.connect() as waiting:
        # All at once: what the server does not read yet waits in the system, and a pause of ours is none of the body.
        waiting.sendall(POST + b"Connection: close\r\nContent-Length: 400000\r\n\r\n" + b"a" * 400_000)
        assert until(lambda: release)
        passed = server.connections.now + 1
        assert until(lambda: server.connections.now > passed)
        release["loop"].call_soon_threadsafe(release["event"].set)
        assert status_of(waiting) == [200]


def test_unwanted_body_is_read_for_a_while(server):
    sent, statuses = pour(
        server, b"POST /early HTTP/1.1\r\n" + HOST + CHUNKED, b"400\r\n" + b"a" * 1024 + b"\r\n", 64 << 20
    )
    assert sent < 32 << 20
    assert statuses in ([200], [])


def test_a_small_body_nobody_wanted_keeps_the_connection(server):
    early = b"POST /early HTTP/1.1\r\n" + HOST + b"Content-Length: 100000\r\n\r\n"
    assert [answer[0] for answer in server.talk(early, b"a" * 100_000 + LAST)] == [200, 200]


def test_refusal_reaches_client_that_still_sends(server):
    told = server.talk(POST + b"X-A: " + b"a" * 70_000, b"a" * 500_000)
    assert [answer[0] for answer in told] == [431]


def test_pipelined_requests_are_answered_in_order(server):
    rows = b"".join(b"GET /%d HTTP/1.1\r\n" % number + HOST + b"\r\n" for number in range(10))
    assert [seen(answer)["path"] for answer in server.talk(rows + LAST)] == [*(f"/{n}" for n in range(10)), "/last"]


def test_flood_of_pipelined_requests_is_cut():
    started = []

    async def counted(scope, receive, send):
        started.append(scope)
        await echo(scope, receive, send)

    with Served(counted, pipelined=4) as server:
        told = server.talk((GET + b"\r\n") * 5000)
    assert [answer[0] for answer in told] == [200] * 5
    assert len(started) == 5


def test_pipelined_request_is_not_read_into_memory():
    async def listens(scope, receive, send):
        await whole_body(receive)
        await receive()  # until the client hangs up: a stream listens like this

    with Served(listens) as server, server.connect() as greedy:
        greedy.settimeout(0.5)
        greedy.sendall(GET + b"\r\n" + POST + CHUNKED)
        with pytest.raises(TimeoutError):
            greedy.sendall((b"10000\r\n" + b"a" * 65536 + b"\r\n") * 512)


def test_good_request_is_answered_before_bad_one():
    told = {}

    async def slow(scope, receive, send):
        await asyncio.sleep(0)
        await echo(scope, receive, send)

    with Served(slow) as server:
        told = server.talk(GET + b"\r\n" + b"GET /b HTTP/1.1\r\nbad\r\n\r\n")
    assert [answer[0] for answer in told] == [200]


@pytest.mark.parametrize("streamed", [True, False])
def test_a_client_that_does_not_read_is_cut(streamed):
    asked = []

    async def large(_scope, receive, send):
        await whole_body(receive)
        asked.append(1)
        headers = [] if streamed else [(b"content-length", b"%d" % (64 << 20))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for left in reversed(range(64)):
            await send({"type": "http.response.body", "body": b"a" * (1 << 20), "more_body": left > 0})

    with Served(large, unread_sec=0.3) as server, server.connect(receive_buffer=4096) as deaf:
        deaf.sendall(GET + b"\r\n")
        assert until(lambda: asked)
        assert until(lambda: len(server.connections) == 0)


def test_all_unread_answers_together_are_bounded():
    asked = []

    async def large(_scope, receive, send):
        await whole_body(receive)
        asked.append(1)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a" * (8 << 20)})

    with Served(large, all_unsent_bytes=20 << 20) as server, ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(server.connect(receive_buffer=4096)).sendall(GET + b"\r\n")
        assert until(lambda: len(asked) == 8)
        assert until(lambda: len(server.connections) <= 3)  # some of each waits in the system


def test_a_client_that_reads_slowly_is_served():
    async def large(_scope, receive, send):
        await whole_body(receive)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": b"a" * (8 << 20)})

    with Served(large, unread_sec=1.5, unread_step=1) as server, server.connect(receive_buffer=65536) as slow:
        slow.sendall(GET + b"\r\n")
        size = 0
        while part := slow.recv(65536):
            size += len(part)
            if size % (1 << 20) < 65536:
                passed = server.connections.now + 0.25
                assert until(lambda limit=passed: server.connections.now > limit)
        assert size > 8 << 20


def test_one_address_may_hold_half_of_the_places(caplog):
    with Served(most=8, **FOREVER) as server, caplog.at_level(logging.WARNING):
        held = [server.connect() for _ in range(4)]
        assert until(lambda: len(server.connections) == 4)
        told = server.talk(GET + b"\r\n")
        assert [(answer[0], answer[1]["retry-after"], answer[1]["connection"]) for answer in told] == [
            (503, "5", "close")
        ]
        assert [answer[0] for answer in server.talk(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")] == [200]
        for connection in held:
            connection.close()
        assert until(lambda: len(server.connections) == 0)
        assert [answer[0] for answer in server.talk(LAST)] == [200]
    assert "too_many_connections; " in caplog.text


def test_health_answers_beside_silent_connections():
    with Served(most=8, **FOREVER) as server:
        held = [server.connect() for _ in range(200)]
        for _ in range(10):
            told = server.talk(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
            assert [(answer[0], answer[1]["connection"]) for answer in told] == [(200, "close")]
        for connection in held:
            connection.close()


def test_a_trusted_proxy_brings_more_than_one_client():
    with Served(most=8, trusted=["127.0.0.0/8"], **FOREVER) as server:
        held = [server.connect() for _ in range(6)]
        assert until(lambda: len(server.connections) == 6)
        assert [answer[0] for answer in server.talk(LAST)] == [200]
        for connection in held:
            connection.close()


def test_a_client_that_closes_its_side_leaves_nothing(server):
    with server.connect() as half:
        half.sendall(GET)
        half.shutdown(socket.SHUT_WR)
        assert read_all(half) == b""
    assert until(lambda: len(server.connections) == 0)
