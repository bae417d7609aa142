"""Anthropic Messages: parse a request, count its tokens, encode a reply, shape an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from bridge.chat.errors import GatewayError
from bridge.chat.fold import Call, Text, Thinking, WholeReply
from bridge.chat.request import ChatRequest
from bridge.wire.anthropic import request as anthropic_request
from bridge.wire.anthropic.errors import error_object, refusal, status_of
from bridge.wire.anthropic.stream import STOP_REASON, MessageEncoder, Signature, message_object, usage_object
from bridge.wire.bodies import Flaw, decode
from bridge.wire.format import Encoder, ReplyHead

T = TypeVar("T")

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


class AnthropicMessages:
    """The format; its one instance is FORMAT."""

    name = "anthropic"

    def parse(self, body: bytes) -> ChatRequest:
        """Raise InvalidRequest, naming the field, for anything that is not a request."""
        return _read(anthropic_request.read, body)

    def parse_to_count(self, body: bytes) -> ChatRequest:
        """The request of a `count_tokens` body, which need not have `max_tokens`."""
        return _read(anthropic_request.read_to_count, body)

    def counted(self, tokens: int) -> bytes:
        """The body that answers `count_tokens`."""
        return b'{"input_tokens":%d}' % tokens

    def encoder(self, head: ReplyHead) -> Encoder:
        """Start a streamed reply."""
        return MessageEncoder(head)

    def whole(self, head: ReplyHead, reply: WholeReply) -> bytes:
        """The body of a reply that is not streamed."""
        content = [_block(head, part) for part in reply.parts if _is_told(part)]
        message = message_object(head, content, STOP_REASON[reply.reason], reply.stop_sequence)
        message["usage"] = usage_object(reply.usage) | {"service_tier": "standard"}
        return msgspec.json.encode(message)

    def error(self, error: GatewayError, request_id: str) -> tuple[int, bytes]:
        """Status and body of an error before the first byte; the body's id is `req_` and the given one."""
        return status_of(error), msgspec.json.encode(error_object(error, request_id))


def _read(reader: Callable[[bytes], T], body: bytes) -> T:
    try:
        return reader(body)
    except Flaw as flaw:
        raise refusal(flaw) from None
    except RecursionError:  # blocks in blocks, to any depth
        raise refusal(Flaw("invalid_value", ("messages",), reason="It is nested too deeply.")) from None


def _is_told(part: Text | Thinking | Call) -> bool:
    return part.complete if isinstance(part, Call) else bool(part.text)


def _block(head: ReplyHead, part: Text | Thinking | Call) -> dict[str, Any]:
    match part:
        case Text():
            return {"type": "text", "text": part.text}
        case Thinking():
            signature = Signature(head)
            signature.add(part.text)
            return {"type": "thinking", "thinking": part.text, "signature": str(signature)}
        case Call():
            return {"type": "tool_use", "id": part.id, "name": part.name, "input": _input(part.arguments or "{}")}


def _input(arguments: str) -> Mapping[str, object]:
    """The arguments, no deeper decoded than needed; what is no object after all is put into one."""
    try:
        return decode(_OBJECT, arguments.encode("utf-8", "replace"))
    except Flaw:
        return {"input": arguments}


FORMAT = AnthropicMessages()
