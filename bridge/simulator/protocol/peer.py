"""One client: its requests, our pushes to it, and its acknowledgements."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from bridge.simulator.process.context import Context
from bridge.simulator.protocol.framing import BodyReader, framed
from bridge.simulator.protocol.messages import (
    DECODER,
    NOTIFICATION,
    PUSH,
    PUSH_STRING_ID,
    Answer,
    Id,
    Message,
    Pending,
)
from bridge.simulator.protocol.outlet import Outlet
from bridge.simulator.protocol.push_framing import Framing

ACK = re.compile(rb'Content-Length: (\d+)\r\n\r\n(\{"jsonrpc":"2\.0","id":(\d+),"result":(?:null|\{\})\})')
PUSH_ID = re.compile(r"push-(\d+)\Z")


class Peer:
    """The socket gives bytes to `receive`, and takes bytes from the outlet; `handle` gets each request."""

    def __init__(
        self,
        context: Context,
        number: int,
        handle: Callable[[Peer, Message], None],
        framing: Framing,
        *,
        websocket: bool,
    ) -> None:
        self.context = context
        self.number = number
        self.handle = handle
        self.framing = framing
        self.websocket = websocket
        self.initialized = False
        self.received_at = context.loop.time()
        self.outlet = Outlet(context.loop)
        self.pending: dict[int, Pending] = {}
        self._reader = BodyReader()
        self._next_id = 0
        self._gated: deque[Callable[[], None]] = deque()

    def push(self, method: bytes, params: bytes, framing: Framing | None = None, answer: Answer | None = None) -> None:
        """Send a request of ours; `answer` gets its result, or None when it never came."""
        if self.outlet.closed:
            # Without a client generation goes on, and each push leaves this line (PROTOCOL 18.4).
            self.context.log.write(f"Client {self.number} is closed, ignore request {method.decode()}")
            return
        if self._gated or (self.pending and self.context.controls.service.ack_gate):
            # The order of the pushes holds: behind a gated one everything waits.
            self._gated.append(lambda: self._push(method, params, framing or self.framing, answer))
            return
        self._push(method, params, framing or self.framing, answer)

    def _push(self, method: bytes, params: bytes, framing: Framing, answer: Answer | None) -> None:
        if framing.ids == "none":
            body = NOTIFICATION % (method, params)
        else:
            # Per connection, as ids need only be unique to one client.
            self._next_id = number = self._next_id + 1
            body = (PUSH if framing.ids == "int" else PUSH_STRING_ID) % (number, method, params)
            # The time of the wheel: a tick late at most, and the clock need not be asked for each chunk.
            self.pending[number] = Pending(self.context.wheel.now, method, answer)
            self.context.counts.pushes += 1
        message = b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        if self.context.recorder:
            self.context.recorder.write("out", self.number, body)
        self.outlet.send(framing.wrap(message))

    def notify(self, method: str, params: dict[str, Any]) -> None:
        self._reply({"jsonrpc": "2.0", "method": method, "params": params})

    def answer(self, request_id: Id, result: Any) -> None:
        self._reply({"jsonrpc": "2.0", "id": request_id, "result": result})

    def refuse(self, request_id: Id, code: int, text: str) -> None:
        self._reply({"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": text}})

    def _reply(self, message: dict[str, Any]) -> None:
        body = msgspec.json.encode(message)
        if self.context.recorder:
            self.context.recorder.write("out", self.number, body)
        # With what a framing holds back: whoever waits for an answer asks nothing else.
        self.outlet.send(self.framing.wrap(framed(body)) + self.framing.release())

    def receive(self, data: bytes) -> None:
        """Read bytes of the stream of framed messages, and handle every message that is complete."""
        self.received_at = self.context.loop.time()
        at = 0
        if self._reader.idle and not self.context.recorder:
            # Only between two messages, and without a recorder, which wants every message.
            at = self._acknowledgements(data)
        if at < len(data):
            for body in self._reader.feed(data[at:] if at else data):
                self._take(body)

    def _acknowledgements(self, data: bytes) -> int:
        """Take the plain acknowledgements at the start of `data`, which are nearly all that ever arrives."""
        at, match, now = 0, ACK.match, self.context.loop.time()
        while found := match(data, at):
            length, body, number = found.groups()
            # The pattern found a body of another length: the full reader decides what it is.
            if int(length) != len(body):
                break
            self._acknowledged(int(number), now, None)
            at = found.end()
        return at

    def _acknowledged(self, number: int, now: float, result: Any) -> None:
        counts = self.context.counts
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
            self.context.log.write("Unknown message header")
            return
        if self.context.recorder:
            self.context.recorder.write("in", self.number, body)
        try:
            message = DECODER.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            # Without an id, as none could be read (JSON-RPC 2.0).
            self.refuse(None, -32700, f"unreadable JSON: {exc}")
            return
        if message.method is not None:
            self.handle(self, message)
        else:
            self._answered(message)

    def _answered(self, message: Message) -> None:
        number = message.id
        if isinstance(number, str) and (found := PUSH_ID.match(number)):
            # Ids come back as they were sent: strings, if the options asked for those.
            number = int(found[1])
        if not isinstance(number, int):
            self.context.counts.stray_acks += 1
            return
        if message.error is not msgspec.UNSET:
            self.context.counts.refused_pushes += 1
        result = msgspec.json.decode(message.result) if isinstance(message.result, msgspec.Raw) else None
        self._acknowledged(number, self.context.loop.time(), result)

    def expire(self, before: float) -> None:
        """Give up on pushes sent before that moment and not acknowledged."""
        while self.pending:
            number = next(iter(self.pending))  # the oldest: ids only grow
            pending = self.pending[number]
            if pending.at > before:
                break
            del self.pending[number]
            self.context.counts.late_acks += 1
            self.context.log.write(
                f"|Outbound| request id: {number}, method: {pending.method.decode()} failed: "
                "no response from client, timeout reached"
            )
            if pending.answer:
                pending.answer(None)
        self._open_gate()

    def lost(self) -> None:
        """The connection is gone; later pushes are discarded."""
        self.outlet.lost()
        self.pending.clear()
        self._gated.clear()
