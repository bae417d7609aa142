"""A public format of the smallest kind, in plain lines.

A request is a line with the model, and `stream` behind it if the reply is to be streamed; then what the user says. A
reply is its text, and a last line that begins with `=`, or with `!` when something went wrong.
"""

from collections.abc import Iterable
from typing import assert_never

from bridge.chat.errors import GatewayError, InvalidRequest
from bridge.chat.events import (
    ChatEvent,
    Failed,
    Finished,
    KeepAlive,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
)
from bridge.chat.fold import WholeReply
from bridge.chat.request import ChatRequest, Message
from bridge.wire.format import Encoder, ParsedRequest, ReplyHead, WireFormat


class LinesEncoder(Encoder):
    """Text as it comes, and the last line."""

    def __init__(self, head: ReplyHead) -> None:
        self._head = head

    def feed(self, events: Iterable[ChatEvent]) -> bytes:
        return b"".join(map(self._encode, events))

    def _encode(self, event: ChatEvent) -> bytes:
        match event:
            case TextDelta(text):
                return text.encode()
            case Finished(reason):
                return b"\n= %b of %b\n" % (reason.encode(), self._head.model.encode())
            case Failed(error):
                return b"\n! %b\n" % error.message.encode()
            case Started() | KeepAlive() | ThinkingDelta() | ToolCallStarted() | ToolCallDelta() | ToolCallEnded():
                return b""
            case _:
                assert_never(event)


class LinesReply:
    """All requests get their reply in the same way."""

    def encoder(self, head: ReplyHead) -> LinesEncoder:
        return LinesEncoder(head)

    def whole(self, head: ReplyHead, reply: WholeReply) -> bytes:
        return b"%b\n= %b of %b\n" % (reply.text.encode(), reply.reason.encode(), head.model.encode())


class Lines(WireFormat):
    """The format; its one instance is FORMAT."""

    name = "lines"
    path = "/v1/lines"
    media_type = stream_media_type = b"text/plain; charset=utf-8"
    id_header = b"lines-id"

    def parse(self, body: bytes) -> ParsedRequest[LinesReply]:
        first, _, text = body.decode(errors="replace").partition("\n")
        model, *options = first.split() or [""]
        if not (model and text):
            raise InvalidRequest("Send a line with the model, then a text.", param=("text" if model else "model",))
        return ParsedRequest(ChatRequest(model, (Message("user", text),), "stream" in options), LinesReply())

    def error(self, error: GatewayError, request_id: str) -> tuple[int, bytes]:
        return error.status, b"! %b\n" % error.message.encode()


FORMAT = Lines()
