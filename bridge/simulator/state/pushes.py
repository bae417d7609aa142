"""The pushes of one turn."""

from __future__ import annotations

from typing import Any

import msgspec

from bridge.simulator.options.turn_options import TurnOptions
from bridge.simulator.process.ids_and_clock import IdsAndClock
from bridge.simulator.protocol.peer import Peer
from bridge.simulator.protocol.push_framing import Framing
from bridge.simulator.state.ask import Ask

REASONS = {
    200: "success", 400: "bad request", 401: "not logged in", 403: "not authorized",
    406: "Session blocked, Please clear context try again", 408: "timeout", 418: "Unknown sse issue",
    429: "rate limit exceeded", 500: "internal error", 601: "content blocked",
}  # fmt: skip
encode = msgspec.json.Encoder().encode


class Pushes:
    """What is the same in each push of a turn is encoded once. `sent` are the deltas so far."""

    def __init__(
        self, peer: Peer, framing: Framing, ids: IdsAndClock, ask: Ask, session_id: str, options: TurnOptions
    ) -> None:
        self.peer, self.framing, self.ids, self.options = peer, framing, ids, options
        self.request_id, self.session_id = ask.request_id, session_id
        self.sent: list[str] = []
        # The same in every push of the turn: a chunk then encodes its text and nothing else.
        self._ids = b'{"requestId":%b,"sessionId":%b' % (encode(ask.request_id), encode(session_id))
        self._answer_head = b'%b,"%b":' % (self._ids, options.field.encode())
        self._answer_tail = b',"extra":{"sessionType":%b}}' % encode(ask.session_type)

    def push(self, method: str, fields: dict[str, Any]) -> None:
        """A push with the two ids and these fields."""
        # The opening brace of the fields goes, as `_ids` has one.
        self.push_raw(method, self._ids + b"," + encode(fields)[1:])

    def push_raw(self, method: str, params: bytes) -> None:
        """Push params that are JSON already."""
        self.peer.push(method.encode(), params, self.framing)

    def delta(self, text: str, *, overwrite: bool = False) -> None:
        """Push a piece of the answer."""
        self.sent.append(text)
        params = b'%b%b,"overwrite":%b,"isFiltered":false,"timestamp":%d%b' % (
            self._answer_head, encode(text), b"true" if overwrite else b"false", self.ids.now_ms(), self._answer_tail,
        )  # fmt: skip
        self.peer.push(b"chat/answer", params, self.framing)

    def thought(self, text: str, step: str) -> None:
        """Push a piece of the reasoning."""
        self.push("chat/think", {"text": text, "step": step, "timestamp": self.ids.now_ms(), "extra": {}})

    def finish(self, code: int, reason: str = "", request_id: str = "") -> None:
        """Push `chat/finish`, and nothing else of an ending."""
        full = "" if self.options.full_answer == "empty" else "".join(self.sent)
        named = self.options.session
        fields = {
            "requestId": request_id or self.request_id,
            # A finish may name another session: then the client has to follow (PROTOCOL 18.4).
            "sessionId": self.ids.uuid() if named == "new" else named or self.session_id,
            "reason": reason or REASONS.get(code, "error"), "statusCode": code, "fullAnswer": full, "extra": None,
        }  # fmt: skip
        self.push_raw("chat/finish", encode(fields))

    def flush(self) -> None:
        """Let go of messages that wait to be merged."""
        self.peer.outlet.send(self.framing.release())
