"""A simulator process and a client of it that shares no code with the gateway."""

import json
import os
import re
import time
from contextlib import asynccontextmanager

import websockets

from tests import prepared

QUICK = "first_ms=0 delay_ms=0"
READY = re.compile(r"ready - WebSocket: (\d+), HTTP: (\d+)")
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("LINGMA_")}


def run(*argv):
    return prepared.run("bridge.simulator", *argv, env=ENVIRONMENT)


def frame(message):
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


class Simulator:
    def __init__(self, work_dir, *flags, **environ):
        self.work_dir = work_dir
        argv = ("start", f"--workDir={work_dir}", "--socketPort=0", "--httpPort=0", *flags)
        self.earlier = 0  # characters of the log that earlier runs wrote
        self.earlier = len(self.log())
        self.process = prepared.Process("bridge.simulator", *argv, env=ENVIRONMENT | environ)
        self.port, self.http_port = map(int, self.wait_for_line(READY).groups())

    def log(self):
        """The lines of this run."""
        path = self.work_dir / "logs" / "lingma.log"
        return path.read_text()[self.earlier :] if path.exists() else ""

    def wait_for_line(self, pattern):
        return self.wait_for(lambda: re.search(pattern, self.log()))

    def wait_for(self, look):
        end = time.monotonic() + 45
        while not (found := look()):
            assert time.monotonic() < end, self.log()
            assert self.process.poll() is None
            time.sleep(0.01)
        return found

    def control(self, **options):
        draft = self.work_dir / "draft.json"
        draft.write_text(json.dumps(options))
        draft.replace(self.work_dir / "simulator.json")

    def stop(self):
        self.process.kill()
        self.process.wait()

    @asynccontextmanager
    async def client(self, *, path="/", initialize=True, **options):
        async with websockets.connect(f"ws://127.0.0.1:{self.port}{path}", max_size=None) as socket:
            client = Client(socket, **options)
            if initialize:
                await client.call("initialize", {"workspaceFolders": [{"uri": "file:///w", "name": "w"}]})
            yield client


class Client:
    """Acknowledges every push with `ack`; None: never."""

    def __init__(self, socket, ack=b"null"):
        self.socket, self.ack = socket, ack
        self.buffer = b""
        self.frames = []
        self.messages = []
        self.pushes = []
        self.number = 0

    async def send(self, method, params=None, **extra):
        await self.socket.send(frame({"jsonrpc": "2.0", "method": method, "params": params or {}, **extra}))

    async def call(self, method, params=None):
        self.number += 1
        await self.send(method, params, id=self.number)
        return await self.answer_to(self.number)

    async def answer_to(self, number):
        while True:
            message = await self.receive()
            if "method" not in message and message["id"] == number:
                return message.get("result", message.get("error"))

    async def receive(self):
        """The next message, acknowledged if it is a push."""
        while not (found := self._take()):
            data = await self.socket.recv()
            self.frames.append(data)
            self.buffer += data.encode() if isinstance(data, str) else data
        message = json.loads(found[0])
        self.messages.append(message)
        if "method" in message:
            await self._pushed(message)
        return message

    async def _pushed(self, message):
        self.pushes.append(message)
        if "id" in message and self.ack is not None:
            answer = {"jsonrpc": "2.0", "id": message["id"], "result": json.loads(self.ack)}
            await self.socket.send(frame(json.dumps(answer, separators=(",", ":")).encode()))

    def _take(self):
        found = re.match(rb"Content-Length: (\d+)\r\n\r\n", self.buffer)
        if not found or len(self.buffer) < found.end() + int(found[1]):
            return None
        end = found.end() + int(found[1])
        body, self.buffer = self.buffer[found.end() : end], self.buffer[end:]
        return [body]

    async def push_named(self, method):
        while True:
            message = await self.receive()
            if message.get("method") == method:
                return message["params"]

    async def ask(self, prompt, request_id="r1", **fields):
        await self.send("chat/ask", {"requestId": request_id, "sessionId": "", "questionText": prompt, **fields})

    async def chat(self, prompt, request_id="r1", **fields):
        """(text of all deltas, params of chat/finish)."""
        start = len(self.pushes)
        await self.ask(prompt, request_id, **fields)
        finish = await self.push_named("chat/finish")
        return texts(self.pushes[start:]), finish


def texts(pushes):
    return "".join(push["params"].get("text", "") for push in pushes if push["method"] == "chat/answer")


def methods(pushes):
    return [push["method"] for push in pushes]
