"""One client: its requests, our pushes to it, and its acknowledgements."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from .framing import BodyReader, framed
from .quirks import Quirks

if TYPE_CHECKING:
    from .service import Service

PUSH = b'{"jsonrpc":"2.0","id":%d,"method":"%b","params":%b}'
PUSH_STRING_ID = b'{"jsonrpc":"2.0","id":"push-%d","method":"%b","params":%b}'
NOTIFICATION = b'{"jsonrpc":"2.0","method":"%b","params":%b}'
ACK = re.compile(rb'Content-Length: (\d+)\r\n\r\n(\{"jsonrpc":"2\.0","id":(\d+),"result":(?:null|\{\})\})')
PUSH_ID = re.compile(r"push-(\d+)\Z")

Answer = Callable[[Any], None]


class Message(msgspec.Struct):
    """The parts of a JSON-RPC message that tell what it is."""

    method: str | None = None
    id: int | str | msgspec.UnsetType | None = msgspec.UNSET
    params: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


DECODER = msgspec.json.Decoder(Message)


class Pending(msgspec.Struct):
    """A push that waits for its acknowledgement."""

    at: float
    method: bytes
    answer: Answer | None = None


class Peer:
    """The transport gives bytes to `receive` and takes bytes through `write`; `wrap` makes a frame of a message."""

    def __init__(self, service: Service, number: int, *, websocket: bool) -> None:
        self.service = service
        self.number = number
        self.initialized = False
        self.closed = False
        self.heard_at = service.loop.time()
        self.plain = Quirks.of(service.controls.turn, websocket=websocket)
        self.websocket = websocket
        self.pending: dict[int, Pending] = {}
        self._reader = BodyReader()
        self._next_id = 0
        self._out: list[bytes] = []
        self._gated: deque[Callable[[], None]] = deque()
        self.write: Callable[[bytes], None] = lambda data: None
        self.close: Callable[[bool], None] = lambda hard: None

    # -- to the client ------------------------------------------------------------------------------------------
    def push(self, method: bytes, params: bytes, quirks: Quirks | None = None, answer: Answer | None = None) -> None:
        """Send a request of ours; `answer` gets its result, or None when it never came."""
        if self.closed:
            self.service.log.write(f"Client {self.number} is closed, ignore request {method.decode()}")
            return
        if self._gated or (self.pending and self.service.controls.service.ack_gate):
            self._gated.append(lambda: self._push(method, params, quirks or self.plain, answer))
            return
        self._push(method, params, quirks or self.plain, answer)

    def _push(self, method: bytes, params: bytes, quirks: Quirks, answer: Answer | None) -> None:
        if quirks.ids == "none":
            body = NOTIFICATION % (method, params)
        else:
            self._next_id = number = self._next_id + 1
            body = (PUSH if quirks.ids == "int" else PUSH_STRING_ID) % (number, method, params)
            self.pending[number] = Pending(self.service.wheel.now, method, answer)
            self.service.counts.pushes += 1
        message = b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        if self.service.recorder:
            self.service.recorder.write("out", self.number, body)
        self.send_raw(quirks.wrap(message))

    def notify(self, method: str, params: dict[str, Any]) -> None:
        """Send a notification."""
        self._reply({"jsonrpc": "2.0", "method": method, "params": params})

    def answer(self, request_id: int | str | None, result: Any) -> None:
        """Send the result of a request."""
        self._reply({"jsonrpc": "2.0", "id": request_id, "result": result})

    def refuse(self, request_id: int | str | None, code: int, text: str) -> None:
        """Send the error of a request."""
        self._reply({"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": text}})

    def _reply(self, message: dict[str, Any]) -> None:
        body = msgspec.json.encode(message)
        if self.service.recorder:
            self.service.recorder.write("out", self.number, body)
        self.send_raw(self.plain.wrap(framed(body)))

    def send_raw(self, data: bytes) -> None:
        """Queue bytes; what is queued in one turn of the loop leaves in one write."""
        if self.closed or not data:
            return
        if not self._out:
            self.service.loop.call_soon(self.flush)
        self._out.append(data)

    def flush(self) -> None:
        """Write what is queued."""
        if self._out:
            data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            self.write(data)

    def drop(self) -> None:
        """Cut the connection after what has been sent so far, without a closing handshake."""
        self.flush()
        self.close(True)

    # -- from the client ----------------------------------------------------------------------------------------
    def receive(self, data: bytes) -> None:
        """Bytes of the stream of framed messages."""
        self.heard_at = self.service.loop.time()
        at = 0
        if self._reader.idle and not self.service.recorder:
            at = self._acknowledgements(data)
        if at < len(data):
            for body in self._reader.feed(data[at:] if at else data):
                self._take(body)

    def _acknowledgements(self, data: bytes) -> int:
        """Take the plain acknowledgements at the start of `data`, which are nearly all that ever arrives."""
        at, match, now = 0, ACK.match, self.service.loop.time()
        while found := match(data, at):
            length, body, number = found.groups()
            if int(length) != len(body):
                break
            self._acknowledged(int(number), now, None)
            at = found.end()
        return at

    def _acknowledged(self, number: int, now: float, result: Any) -> None:
        counts = self.service.counts
        pending = self.pending.pop(number, None)
        if pending is None:
            counts.stray_acks += 1
            return
        counts.acks += 1
        took = now - pending.at
        if took > counts.slowest_ack:
            counts.slowest_ack = took
        if pending.answer:
            pending.answer(result)
        if self._gated:
            self._open_gate()

    def _open_gate(self) -> None:
        while self._gated and not self.pending:
            self._gated.popleft()()

    def _take(self, body: bytes | None) -> None:
        if body is None:
            self.service.log.write("Unknown message header")
            return
        if self.service.recorder:
            self.service.recorder.write("in", self.number, body)
        try:
            message = DECODER.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            self.refuse(None, -32700, f"unreadable JSON: {exc}")
            return
        if message.method is not None:
            self.service.methods.call(self, message)
        else:
            self._answered(message)

    def _answered(self, message: Message) -> None:
        number = message.id
        if isinstance(number, str) and (found := PUSH_ID.match(number)):
            number = int(found[1])
        if not isinstance(number, int):
            self.service.counts.stray_acks += 1
            return
        if message.error is not msgspec.UNSET:
            self.service.counts.refused_pushes += 1
        result = msgspec.json.decode(message.result) if isinstance(message.result, msgspec.Raw) else None
        self._acknowledged(number, self.service.loop.time(), result)

    def expire(self, before: float) -> None:
        """Give up on pushes sent before that moment and not acknowledged."""
        while self.pending:
            number = next(iter(self.pending))  # the oldest: ids only grow
            pending = self.pending[number]
            if pending.at > before:
                break
            del self.pending[number]
            self.service.counts.late_acks += 1
            self.service.log.write(
                f"|Outbound| request id: {number}, method: {pending.method.decode()} failed: "
                "no response from client, timeout reached"
            )
            if pending.answer:
                pending.answer(None)
        self._open_gate()

    def lost(self) -> None:
        """The connection is gone; later pushes are discarded."""
        self.closed = True
        self._out.clear()
        self.pending.clear()
        self._gated.clear()
