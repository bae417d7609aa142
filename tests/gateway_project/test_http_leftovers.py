"""A connection that has ended leaves nothing: the collector comes so seldom that thousands would wait for it."""

import asyncio
import gc
import socket
from contextlib import suppress

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway_project.server.protocol import BoundedHttpProtocol
from tests.gateway_project.served import HOST, Served, read_all, until, whole_body

GET = b"GET /a HTTP/1.1\r\n" + HOST
POST = b"POST /a HTTP/1.1\r\n" + HOST
CLOSE = b"Connection: close\r\n"
ENDS = {
    "nothing was asked": b"",
    "half a head": GET + b"X-A: " + b"a" * 60_000,
    "an answer, and its client goes": GET + b"\r\n",
    "a stream, and its client goes": b"GET /stream HTTP/1.1\r\n" + HOST + b"\r\n",
    "an answer that was the last": GET + CLOSE + b"\r\n",
    "half a body": POST + b"Content-Length: 90000\r\n\r\n" + b"a" * 80_000,
    "a body that came after its answer": b"POST /early HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\na",
    "requests in a row": POST + b"Content-Length: 9\r\n\r\na" + b"12345678" + 3 * (GET + b"\r\n"),
    "requests in a row, the first not whole": POST + b"Content-Length: 90000\r\n\r\n" + b"a" * 70_000 + 3 * GET,
    "an old client": b"GET /a HTTP/1.0\r\n" + HOST + b"\r\n",
    "a client that asks whether to go on": POST + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n",
    "a wish for an upgrade": GET + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    "no HTTP": b"hello\r\n\r\n",
    "a head that is too large": GET + b"X-A: " + b"a" * 140_000 + b"\r\n\r\n",
}


@pytest.fixture(scope="module")
def server():
    with Served() as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def uncollected():
    """Nothing is collected meanwhile, and what was there before is not looked through."""
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


def left():
    """Connections that are still in memory."""
    return [each for each in gc.get_objects() if isinstance(each, BoundedHttpProtocol)]


@pytest.mark.parametrize("sent", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("politely", [True, False], ids=["politely", "at once"])
def test_closed_connection_leaves_nothing_behind(server, sent, politely):
    with server.connect() as connection:
        connection.sendall(sent)
        if politely:
            connection.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):
                read_all(connection)
    server.talk(GET + CLOSE + b"\r\n")  # it comes after the other one
    assert until(lambda: not left())


def test_open_connections_own_objects_have_slots(server):
    """A dictionary of its own, for more attributes than Python shares among objects, weighs 1.5 KiB."""
    with server.connect() as connection:
        connection.sendall(GET + b"\r\n")
        connection.recv(1)
        (ours,) = left()
        known = vars(HttpToolsProtocol(ours.config, ours.server_state, {}, ours.loop))
        assert not vars(ours).keys() - known.keys()
        assert len(known) < 30


def test_requests_never_begun_leave_nothing():
    begun = []

    async def stream(scope, receive, send):
        begun.append(scope["path"])
        await whole_body(receive)
        gone = asyncio.ensure_future(receive())
        await send({"type": "http.response.start", "status": 200})
        while not gone.done():
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
            await asyncio.sleep(0.001)

    with Served(stream) as server:
        with server.connect() as connection:
            connection.sendall(3 * (POST + b"Content-Length: 9\r\n\r\n123456789"))
            assert connection.recv(9)
        assert until(lambda: not left())
    assert len(begun) == 1
