"""The HTTP protocol on a real loop and real sockets, with a small application behind it and bounds to one's taste."""

import asyncio
import json
import socket
import threading
import time

import uvicorn
import uvloop
from uvicorn.server import ServerState

from gateway_project.server.bounds import Bounds
from gateway_project.server.connections import Connections
from gateway_project.server.forwarded import TrustedProxies
from gateway_project.server.protocol import BoundedHttpProtocol
from gateway_project.server.websocket import OPTIONS

HOST = b"Host: localhost\r\n"
LOOK_EVERY = 0.02


async def echo(scope, receive, send):
    """Answer with what was understood; `/early` answers before the body, `/stream` without a length."""
    body = b"" if scope["path"] == "/early" else await whole_body(receive)
    seen = {
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode(),
        "headers": [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]],
        "body": body.decode("latin-1"),
    }
    answer = json.dumps(seen).encode()
    length = [] if scope["path"] == "/stream" else [(b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    await send({"type": "http.response.body", "body": answer[:9], "more_body": True})
    await send({"type": "http.response.body", "body": answer[9:]})


async def whole_body(receive):
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionAbortedError
        parts.append(message["body"])
        if not message["more_body"]:
            return b"".join(parts)


class Served:
    """A server in a thread. Use as a context."""

    def __init__(self, application=echo, *, most=1000, trusted=(), **bounds):
        self._application = application
        self.connections = Connections(most, TrustedProxies(trusted), Bounds(**bounds))
        self._thread = threading.Thread(target=self._run)
        self._ready = threading.Event()

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(45)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(45)

    def _run(self):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        config = uvicorn.Config(
            quietly(self._application), http=BoundedHttpProtocol, ws="none", log_config=None, **OPTIONS
        )
        config.load()
        state = ServerState()
        protocol = type("Protocol", (BoundedHttpProtocol,), {"peers": self.connections})
        self.connections.check()
        server = await self._loop.create_server(
            lambda: protocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        while not self._stop.is_set():
            await asyncio.wait({asyncio.ensure_future(self._stop.wait())}, timeout=LOOK_EVERY)
            self.connections.check()
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await asyncio.gather(*state.tasks)
        await asyncio.sleep(0)

    def connect(self, receive_buffer=0):
        connection = socket.socket()
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(45)
        connection.connect(("127.0.0.1", self.port))
        return connection

    def talk(self, *parts):
        """Send these bytes, then read until the server closes; a request at the end asks it to."""
        with self.connect() as connection:
            for part in parts:
                connection.sendall(part)
            return answers(read_all(connection))


def quietly(application):
    """What a client does to its own request is no error of the application's."""

    async def quiet(scope, receive, send):
        try:
            await application(scope, receive, send)
        except ConnectionAbortedError:
            await send({"type": "http.response.start", "status": 500, "headers": []})

    return quiet


def read_all(connection):
    """All bytes up to the end."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def answers(data):
    """Each answer as (status, headers, body)."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        status = int(first.split()[1])
        if status == 100:
            found.append((status, headers, b""))
            continue
        body, data = split_body(headers, data)
        found.append((status, headers, body))
    return found


def split_body(headers, data):
    if "content-length" in headers:
        size = int(headers["content-length"])
        return data[:size], data[size:]
    if headers.get("transfer-encoding") != "chunked":
        return data, b""
    parts = []
    while True:
        size, _, data = data.partition(b"\r\n")
        part, data = data[: int(size, 16)], data[int(size, 16) + 2 :]
        if not part:
            return b"".join(parts), data
        parts.append(part)


def seen(answer):
    """What the application understood."""
    return json.loads(answer[2])


def until(check, seconds=45.0):
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found
