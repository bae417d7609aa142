"""A connection that becomes a WebSocket, at the one path that has them."""

import time
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from gateway_project.server.bounds import LARGEST_MESSAGE
from gateway_project.server.websocket import MOST_IN_ALL, PATHS
from tests.gateway_project.served import Served, echo, read_all

PATH = next(iter(PATHS))


async def application(scope, receive, send):
    """Say each message back; `?flood` sends until nobody takes more."""
    if scope["type"] != "websocket":
        return await echo(scope, receive, send)
    await receive()
    if scope["query_string"] == b"refuse":
        return await send({"type": "websocket.close"})
    await send({"type": "websocket.accept"})
    while scope["query_string"] == b"flood":
        await send({"type": "websocket.send", "text": "x" * 65536})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
    return None


@pytest.fixture
def server():
    with Served(application, unread_sec=0.5) as running:
        yield running


def address(server, path=PATH):
    return f"ws://127.0.0.1:{server.port}{path}"


def until_empty(server):
    deadline = time.monotonic() + 20
    while len(server.connections) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not len(server.connections)


def test_messages_go_both_ways(server):
    with connect(address(server), compression=None) as socket:
        for number in range(3):
            socket.send(f"{number}")
            assert socket.recv(10) == f"{number}"
        assert len(server.connections) == 1
    assert until_empty(server)


@pytest.mark.parametrize(
    "more",
    [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n", b"X: %b\r\n\r\n" % (b"x" * 9000),
     b"X: x\r\n" * 140 + b"\r\n"],
    ids=["body", "chunks", "long", "many"],
)  # fmt: skip
def test_handshake_that_is_not_understood_ends(server, more):
    head = f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n".encode()
    fields = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    assert [status for status, _, _ in server.talk(head + fields + more)] == [400]
    assert until_empty(server)


def test_handshake_may_be_refused(server):
    with pytest.raises(InvalidStatus) as refused:
        connect(address(server) + "?refuse")
    assert refused.value.response.status_code == 403


def test_other_paths_ignore_the_wish(server):
    with pytest.raises(InvalidStatus) as answered:
        connect(address(server, "/admin/"))
    assert answered.value.response.status_code == 200


def test_long_message_ends_the_socket(server):
    with connect(address(server), compression=None) as socket:
        socket.send("x" * (LARGEST_MESSAGE + 1))
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(10)
    assert closed.value.rcvd.code == 1009


PING = b"\x89\x80\0\0\0\0"
PONG = b"\x8a\0"
HANDSHAKE = (
    f"GET {PATH}%s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.mark.parametrize("query", ["", "?refuse"])
def test_frames_before_the_answer_are_not_read(server, query):
    """Whoever sends them may be a stranger: nobody has looked yet."""
    with server.connect() as stranger:
        stranger.sendall((HANDSHAKE % query).encode() + PING * 1000)
        with suppress(ConnectionResetError):
            assert PONG not in read_all(stranger)
    assert until_empty(server)


def test_flood_of_frames_ends_the_socket(server):
    number, answered = MOST_IN_ALL // len(PING) + 1, b""
    with server.connect() as client:
        client.sendall((HANDSHAKE % "").encode())
        client.recv(1000)
        with suppress(ConnectionError):
            client.sendall(PING * number)
            answered = read_all(client)
    assert answered.count(PONG) < number
    assert until_empty(server)


def test_frames_of_a_socket_are_bounded(server):
    said = 0
    with connect(address(server), compression=None) as socket, suppress(ConnectionClosed):
        while said <= MOST_IN_ALL:
            socket.send("x" * 1000)
            assert socket.recv(10)
            said += 1000
    assert MOST_IN_ALL - 10_000 < said <= MOST_IN_ALL
    assert until_empty(server)


def test_client_that_does_not_read_is_cut(server):
    socket = connect(address(server) + "?flood", compression=None, max_queue=1)
    assert until_empty(server)
    socket.socket.close()
