"""Anthropic Messages: parse a request, count its tokens, encode a reply, shape an error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, assert_never

import msgspec

from bridge.chat.errors import GatewayError
from bridge.chat.events import ChatEvent, Failed, Finished, FinishReason, KeepAlive, Started, TextDelta
from bridge.chat.fold import WholeReply
from bridge.chat.request import ChatRequest
from bridge.wire import anthropic_request, sse
from bridge.wire.anthropic_errors import error_object, refusal, status_of
from bridge.wire.bodies import Flaw
from bridge.wire.format import Encoder, ReplyHead

STOP_REASON = {
    FinishReason.STOP: "end_turn",
    FinishReason.STOP_SEQUENCE: "stop_sequence",
    FinishReason.LENGTH: "max_tokens",
    FinishReason.TOOL_CALLS: "tool_use",
    FinishReason.CONTENT_FILTER: "refusal",
}

# Both SDKs drop an event without its `event:` line.
PING = sse.named("ping", {"type": "ping"})
BLOCK_START = sse.named(
    "content_block_start", {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
)
BLOCK_STOP = sse.named("content_block_stop", {"type": "content_block_stop", "index": 0})
MESSAGE_STOP = sse.named("message_stop", {"type": "message_stop"})
TEXT = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":'
TEXT_END = b"}}\n\n"


class MessageEncoder:
    """Events of one reply; the text block is opened by the first text and closed before the ending."""

    def __init__(self, head: ReplyHead) -> None:
        self._head = head
        self._block_is_open = False

    def feed(self, events: Iterable[ChatEvent]) -> bytes:
        """Encode the next events."""
        pieces: list[bytes] = []
        for event in events:
            if isinstance(event, TextDelta):  # the hot path: no call but the escaping
                if not self._block_is_open:
                    self._block_is_open = True
                    pieces.append(BLOCK_START)
                pieces += (TEXT, sse.json_text(event.text), TEXT_END)
            else:
                pieces.append(self._seldom(event))
        return b"".join(pieces)

    def _seldom(self, event: Started | KeepAlive | Finished | Failed) -> bytes:
        match event:
            case Started():
                return self._start(event)
            case KeepAlive():
                return PING
            case Finished():
                return self._ending(event)
            case Failed():  # neither message_delta nor message_stop may follow
                return sse.named("error", error_object(event.error, self._head.request_id, in_stream=True))
            case _:
                assert_never(event)

    def _start(self, event: Started) -> bytes:
        message = _message(self._head, [], None, None)
        message["usage"] = _usage(max(1, event.input_tokens), 1)  # clients take 0 for a missing figure
        return sse.named("message_start", {"type": "message_start", "message": message})

    def _ending(self, event: Finished) -> bytes:
        delta = {"stop_reason": STOP_REASON[event.reason], "stop_sequence": event.stop_sequence}
        usage = _usage(event.usage.input_tokens, event.usage.output_tokens)
        told = sse.named("message_delta", {"type": "message_delta", "delta": delta, "usage": usage})
        return (BLOCK_STOP if self._block_is_open else b"") + told + MESSAGE_STOP


class AnthropicMessages:
    """The format; its one instance is FORMAT."""

    name = "anthropic"

    def parse(self, body: bytes) -> ChatRequest:
        """Raise InvalidRequest, naming the field, for anything that is not a request."""
        try:
            return anthropic_request.read(body)
        except Flaw as flaw:
            raise refusal(flaw) from None

    def parse_count(self, body: bytes) -> int:
        """Estimate the input tokens of a `count_tokens` body: messages, system and tools."""
        try:
            return anthropic_request.count(body)
        except Flaw as flaw:
            raise refusal(flaw) from None

    def counted(self, tokens: int) -> bytes:
        """The body that answers `count_tokens`."""
        return b'{"input_tokens":%d}' % tokens

    def encoder(self, head: ReplyHead) -> Encoder:
        """Start a streamed reply."""
        return MessageEncoder(head)

    def whole(self, head: ReplyHead, reply: WholeReply) -> bytes:
        """The body of a reply that is not streamed."""
        content = [{"type": "text", "text": reply.text}] if reply.text else []
        message = _message(head, content, STOP_REASON[reply.reason], reply.stop_sequence)
        message["usage"] = _usage(reply.usage.input_tokens, reply.usage.output_tokens) | {"service_tier": "standard"}
        return msgspec.json.encode(message)

    def error(self, error: GatewayError, request_id: str) -> tuple[int, bytes]:
        """Status and body of an error before the first byte; the body's id is `req_` and the given one."""
        return status_of(error), msgspec.json.encode(error_object(error, request_id))


def _message(head: ReplyHead, content: list[Any], reason: str | None, sequence: str | None) -> dict[str, Any]:
    return {
        "id": f"msg_{head.request_id}",
        "type": "message",
        "role": "assistant",
        "model": head.model,
        "content": content,
        "stop_reason": reason,
        "stop_sequence": sequence,
    }


def _usage(input_tokens: int, output_tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output_tokens,
    }


FORMAT = AnthropicMessages()
