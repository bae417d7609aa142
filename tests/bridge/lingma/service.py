"""A scripted service on a real WebSocket: the tests say what it sends, and see all it was sent."""

import asyncio
import json
import logging

from websockets.asyncio.server import serve

from bridge.lingma.dialects.a.dialect import DialectA

DIALECT = DialectA()

QUIET = logging.getLogger("tests.websockets")
QUIET.setLevel(logging.CRITICAL)
SILENT = object()
"""As an answer: there is none."""
MODELS = {"chat": [{"key": "org_auto", "displayName": "Auto"}, {"key": "coder", "displayName": "Qwen3-Coder"}]}


def framed(message):
    body = message if isinstance(message, bytes) else json.dumps(message, ensure_ascii=False).encode()
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def answer(text, request_id="r1", **more):
    return "chat/answer", {"requestId": request_id, "text": text, **more}


def finish(request_id="r1", code=200, **more):
    return "chat/finish", {"requestId": request_id, "sessionId": "s-real", "statusCode": code, **more}


class Peer:
    """One connected client."""

    def __init__(self, service, socket):
        self.service = service
        self.socket = socket
        self.next_id = 0

    async def send(self, *messages):
        """Raw bytes in one binary frame, or messages, each framed in a text frame of its own."""
        for message in messages:
            await self.socket.send(message if isinstance(message, bytes) else framed(message).decode())

    def request(self, method, params, id_=None):
        """A push as the service sends it, with the next id."""
        self.next_id += 1
        return {"jsonrpc": "2.0", "id": self.next_id if id_ is None else id_, "method": method, "params": params}

    async def push(self, *pushes):
        """Pairs of method and params, each a request with an id."""
        await self.send(*[self.request(*push) for push in pushes])

    async def together(self, *pushes):
        """The same in one frame."""
        await self.send(b"".join(framed(self.request(*push)) for push in pushes))


class Service:
    """`answers` holds results by method (`{}` otherwise, SILENT for none); `on_ask(peer, params)` runs a turn,
    `on_upload(peer, params)` takes an image.
    """

    ASK = "chat/ask"

    def __init__(self, name="s", on_ask=None, tls=None):
        self._tls = tls
        self.answers = {"auth/status": {"status": 2}, "config/queryModels": MODELS, "initialize": {}}
        self.on_ask = on_ask
        self.on_upload = None
        self.received = []
        self.headers = []
        self.peers = asyncio.Queue()
        self.open_peers = []
        self._news = asyncio.Condition()
        self._tasks = set()

    async def __aenter__(self):
        self._server = await serve(
            self._talk, "127.0.0.1", 0, logger=QUIET, max_size=None, ping_interval=None, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"wss://localhost:{self.port}/" if self._tls else f"ws://127.0.0.1:{self.port}/"
        return self

    async def __aexit__(self, *_):
        for task in self._tasks:
            task.cancel()
        self._server.close()
        await self._server.wait_closed()

    def asks(self):
        return [message["params"] for message in self.received if message.get("method") == self.ASK]

    def methods(self):
        return [message["method"] for message in self.received if "method" in message]

    def acknowledged(self):
        return [message["id"] for message in self.received if "method" not in message]

    async def until(self, condition):
        """Wait until what was received fulfils the condition, and return what that gives."""
        async with asyncio.timeout(30), self._news:
            return await self._news.wait_for(condition)

    async def got(self, method, times=1):
        """The params of the last message of that method, as soon as there are so many."""
        await self.until(lambda: self.methods().count(method) >= times)
        return [message["params"] for message in self.received if message.get("method") == method][times - 1]

    async def drop(self):
        """Cut every connection."""
        for peer in self.open_peers:
            peer.socket.transport.abort()

    async def _talk(self, socket):
        peer = Peer(self, socket)
        self.headers.append(socket.request.headers)
        self.open_peers.append(peer)
        self.peers.put_nowait(peer)
        try:
            async for data in socket:
                await self._receive(peer, data if isinstance(data, bytes) else data.encode())
        except Exception:  # the tests cut connections as they like
            QUIET.debug("cut", exc_info=True)
        finally:
            self.open_peers.remove(peer)

    async def _receive(self, peer, data):
        message = json.loads(data.partition(b"\r\n\r\n")[2])
        async with self._news:
            self.received.append(message)
            self._news.notify_all()
        result = self.answers.get(message.get("method"), {})
        if "method" in message and "id" in message and result is not SILENT:
            fields = result if isinstance(result, dict) and "error" in result else {"result": result}
            await peer.send({"jsonrpc": "2.0", "id": message["id"], **fields})
        act = {self.ASK: self.on_ask, "image/upload": self.on_upload}.get(message.get("method"))
        if act is not None:
            task = asyncio.create_task(act(peer, message["params"]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
