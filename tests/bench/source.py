"""The load source: a Lingma service that answers with time stamps for a few microseconds each.

Runs like the real executable (`python -m tests.bench.source start --socketPort=… --httpPort=…`). The same chunks come
over the WebSocket, as a gateway sees them, and over HTTP in OpenAI's format, as a client without a gateway sees them.
"""

import asyncio
import base64
import gc
import hashlib
import json
import os
import re
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import uvloop

from tests.bench.chunks import scenario
from tests.bench.wheel import Wheel

VERSION = "2.11.1"
FIRST_PUSH_ID = 1_000_000_000  # of fixed width, so that a frame's length does not change
MODELS = {"chat": [{"key": key, "displayName": name, "model": "", "format": "openai", "source": "system",
                    "isVl": key != "org_auto", "isReasoning": False, "isDefault": key == "org_auto", "url": "",
                    "apiKey": ""} for key, name in (("org_auto", "Auto"), ("org_vision", "Vision"))]}  # fmt: skip
STATUS = {"messageId": "", "status": 2, "name": "bench", "id": "1", "accountId": "1", "token": "pt-bench",
          "refreshToken": "rt-bench", "expireTime": 4102444800000, "quota": 0, "whitelist": 3,
          "userType": "personal_standard", "isSubAccount": False, "cloudType": "cloud"}  # fmt: skip
INITIALIZED = {"capabilities": {}, "serverInfo": {"name": "lingma", "version": VERSION}}
UPLOADED = "image/uploadResultNotification"
RESULTS = {
    "initialize": INITIALIZED,
    "auth/status": STATUS,
    "config/queryModels": MODELS,
    "ping": {"success": True},
    "config/getEndpoint": {"endpoint": ""},
    "config/updateEndpoint": {"success": True},
    "chat/stop": {},
    "chat/stopSession": {},
    "shutdown": None,
}


class Params(msgspec.Struct, rename="camel"):
    request_id: str = ""
    session_id: str = ""


class Message(msgspec.Struct):
    method: str = ""
    id: int | str | None = None
    params: Params | None = None


class Source:
    """What all connections share: the wheel, the connections with something to write, the counts."""

    def __init__(self, loop):
        self.touched = set()
        self.wheel = Wheel(loop, self.flush)
        self.push_id = FIRST_PUSH_ID
        self.turns = self.acknowledged = 0

    def flush(self):
        for connection in self.touched:
            connection.flush()
        self.touched.clear()

    def stats(self):
        return {"turns": self.turns, "pushes": self.push_id - FIRST_PUSH_ID, "acknowledged": self.acknowledged}


class Stream:
    """One answer: `left` chunks still to send, one every `interval` ms."""

    def __init__(self, source, connection, chunks, interval):
        self.source = source
        self.connection = connection
        self.left = chunks
        self.interval = interval
        self.stopped = False

    def start(self):
        self.source.turns += 1
        if self.interval:
            self.source.wheel.add(self, self.interval)
            return
        while self.due():
            pass
        self.connection.flush()

    def due(self):
        if self.stopped or self.connection.gone:
            return 0
        out = self.connection.out
        self.chunk(out)
        self.left -= 1
        self.source.touched.add(self.connection)
        if self.left <= 0:
            self.finish(out)
            return 0
        return self.interval or 1


def frame(payload, opcode=1):
    """A WebSocket frame from a server."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, size))
    elif size < 65536:
        head = bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big")
    return head + payload


def message(value):
    """A framed JSON-RPC message in a frame of its own."""
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return frame(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))


def answer_template(params):
    """A `chat/answer` frame with places for the id and the time stamp."""
    body = (
        b'{"jsonrpc":"2.0","id":%d,"method":"chat/answer","params":{"requestId":%b,"sessionId":%b,'
        b'"text":"~%018d ","overwrite":false,"isFiltered":false,"timestamp":%d,"extra":{"sessionType":"chat"}}}'
    ) % (
        FIRST_PUSH_ID,
        json.dumps(params.request_id).encode(),
        json.dumps(params.session_id).encode(),
        0,
        time.time_ns() // 1_000_000,
    )
    whole = frame(b"Content-Length: %d\r\n\r\n%b" % (len(body), body)).replace(b"%", b"%%")
    stamped = whole.replace(b'"~%018d ' % 0, b'"~%018d ', 1)
    return stamped.replace(b'"id":%d,' % FIRST_PUSH_ID, b'"id":%d,', 1)


class Turn(Stream):
    """An answer pushed over the WebSocket."""

    def __init__(self, source, connection, chunks, interval, params):
        super().__init__(source, connection, chunks, interval)
        self.params = params
        self.template = answer_template(params)

    def chunk(self, out):
        self.source.push_id += 1
        out.append(self.template % (self.source.push_id, time.monotonic_ns()))

    def finish(self, out, reason="success"):
        self.stopped = True
        self.connection.turns.pop(self.params.request_id, None)
        self.source.push_id += 1
        params = {"requestId": self.params.request_id, "sessionId": self.params.session_id, "reason": reason,
                  "statusCode": 200, "fullAnswer": "", "extra": None}  # fmt: skip
        out.append(message({"jsonrpc": "2.0", "id": self.source.push_id, "method": "chat/finish", "params": params}))


class Connection(asyncio.Protocol):
    """What both kinds of connection need: collected output, written at once."""

    def __init__(self, source):
        self.source = source
        self.buffer = b""
        self.out = []
        self.gone = False

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, exc):
        self.gone = True

    def flush(self):
        if self.out and not self.gone:
            self.transport.write(b"".join(self.out))
        self.out.clear()


class Gateway(Connection):
    """The WebSocket of a gateway."""

    def __init__(self, source):
        super().__init__(source)
        self.turns = {}
        self.open = False
        self.decode = msgspec.json.Decoder(Message).decode

    def data_received(self, data):
        self.buffer += data
        if not self.open and not self.handshake():
            return
        data = self.buffer
        at, end = 0, len(data)
        while end - at >= 6:
            size, head = data[at + 1] & 0x7F, at + 2
            if size == 126:
                size, head = int.from_bytes(data[head : head + 2], "big"), head + 2
            elif size == 127:
                size, head = int.from_bytes(data[head : head + 8], "big"), head + 8
            if end < head + 4 + size:
                break
            mask = data[head : head + 4]
            at, opcode = head + 4 + size, data[at] & 0x0F
            self.received(opcode, unmasked(data[head + 4 : at], mask))
        self.buffer = data[at:]
        self.flush()

    def handshake(self):
        head, found, self.buffer = self.buffer.partition(b"\r\n\r\n")
        if not found:
            self.buffer = head
            return False
        key = re.search(rb"(?i)sec-websocket-key: *([^\r\n]+)", head)
        if key is None:
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            self.transport.close()
            return False
        digest = hashlib.sha1(key[1].strip() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % base64.b64encode(digest)
        )
        self.open = True
        return True

    def received(self, opcode, payload):
        if opcode in {1, 2}:
            self.source.acknowledged += payload.count(b'"result"')
            if b'"method"' in payload:
                self.calls(payload)
        elif opcode == 8:
            self.transport.write(frame(payload, 8))
            self.transport.close()
        elif opcode == 9:
            self.out.append(frame(payload, 10))

    def calls(self, payload):
        while payload:
            head, _, rest = payload.partition(b"\r\n\r\n")
            size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            self.call(self.decode(rest[:size]), rest[:size])
            payload = rest[size:]

    def call(self, call, body):
        if not call.method:
            return
        if call.method == "chat/ask":
            turn = Turn(self.source, self, *scenario(body), call.params)
            self.turns[call.params.request_id] = turn
            accepted = {"requestId": call.params.request_id, "success": True, "isSuccess": True, "errorMessage": ""}
            self.reply(call, result=accepted)
            turn.start()
        elif call.method == "image/upload":
            self.reply(call, result={"requestId": call.params.request_id, "result": {"success": True}})
            uploaded = {"requestId": call.params.request_id, "imageUrl": "https://example.com/image"}
            self.out.append(message({"jsonrpc": "2.0", "method": UPLOADED, "params": {"result": uploaded}}))
        elif call.method in RESULTS:
            self.reply(call, result=RESULTS[call.method])
            if call.method == "chat/stop" and (turn := self.turns.get(call.params.request_id)):
                turn.finish(self.out, "cancelled")
        else:
            self.reply(call, error={"code": -32601, "message": f"unknown method: {call.method}"})

    def reply(self, call, **content):
        if call.id is not None:
            self.out.append(message({"jsonrpc": "2.0", "id": call.id, **content}))


def unmasked(payload, mask):
    """The payload of a client's frame."""
    size = len(payload)
    pattern = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(pattern, "little")).to_bytes(size, "little")


HEAD = '{"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1774432779,"model":"org_auto","choices":[{'
SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
JSON_HEAD = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"


def http_chunk(delta, finish="null", tail=""):
    """One SSE event as a chunk of an HTTP body."""
    event = f'data: {HEAD}"index":0,"delta":{delta},"finish_reason":{finish}}}]}}\n\n{tail}'.encode()
    return b"%x\r\n%b\r\n" % (len(event), event)


ROLE_EVENT = http_chunk('{"role":"assistant","content":""}')
TEXT_EVENT = http_chunk(f'{{"content":"~{0:018} "}}').replace(b"~%018d" % 0, b"~%018d")
LAST_EVENT = http_chunk("{}", '"stop"', "data: [DONE]\n\n") + b"0\r\n\r\n"


class Direct(Stream):
    """An answer streamed to a client that has no gateway in between."""

    def chunk(self, out):
        out.append(TEXT_EVENT % time.monotonic_ns())

    def finish(self, out):
        out.append(LAST_EVENT)


class Whole(Stream):
    """The same, not streamed: everything in one body."""

    def __init__(self, *args):
        super().__init__(*args)
        self.text = []

    def chunk(self, out):
        self.text.append(f"~{time.monotonic_ns():018} ")

    def finish(self, out):
        choice = {"index": 0, "message": {"role": "assistant", "content": "".join(self.text)}, "finish_reason": "stop"}
        body = json.dumps({"id": "chatcmpl-bench", "object": "chat.completion", "choices": [choice]}).encode()
        out.append(JSON_HEAD % (b"200 OK", len(body), body))


class Client(Connection):
    """A client that asks the source itself over HTTP, one request after the other."""

    def data_received(self, data):
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        size = re.search(rb"(?i)content-length: *(\d+)", head)
        length = int(size[1]) if size else 0
        if not found or len(rest) < length:
            return
        body, self.buffer = rest[:length], rest[length:]
        if head.startswith(b"POST"):
            self.ask(body)
        else:
            self.tell(head)

    def ask(self, body):
        streamed = re.search(rb'"stream": *true', body)
        if streamed:
            self.out += (SSE_HEAD, ROLE_EVENT)
        (Direct if streamed else Whole)(self.source, self, *scenario(body)).start()

    def tell(self, head):
        known = head.startswith((b"GET /stats", b"GET /healthz", b"GET /v1/models"))
        body = json.dumps(self.source.stats() if known else {"error": "not found"}).encode()
        self.transport.write(JSON_HEAD % (b"200 OK" if known else b"404 Not Found", len(body), body))


def arguments(argv):
    """Flags as a dict, in both spellings; unknown ones are kept and mean nothing."""
    flags, argv = {}, list(argv)
    while argv:
        name, given, value = argv.pop(0).partition("=")
        if name.startswith("--"):
            flags[name[2:]] = value if given or not argv or argv[0].startswith("--") else argv.pop(0)
    return flags


async def serve(flags):
    loop = asyncio.get_running_loop()
    source, stop = Source(loop), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    ws_port, http_port = int(flags.get("socketPort", 37010)), int(flags.get("httpPort", 37510))
    await loop.create_server(lambda: Gateway(source), "127.0.0.1", ws_port, backlog=1024)
    await loop.create_server(lambda: Client(source), "127.0.0.1", http_port, backlog=1024)
    if directory := flags.get("workDir"):
        info = Path(directory, ".info.json")
        info.parent.mkdir(parents=True, exist_ok=True)
        info.write_text(json.dumps({"websocketPort": ws_port, "pid": os.getpid(), "isDev": False}))
    parent = os.getppid()
    while os.getppid() == parent and not stop.is_set():  # never outlive whoever started this process
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 1)


def main(argv):
    command, *rest = argv or ["start"]
    if command == "version":
        print(f"version: {VERSION}")
    elif command == "status":
        print(json.dumps({"logged_in": True, "username": "bench", "version": VERSION}))
    else:
        gc.freeze()
        uvloop.run(serve(arguments(rest)))


if __name__ == "__main__":
    main(sys.argv[1:])
