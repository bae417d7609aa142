"""OpenAI Chat Completions: parse a request, encode a reply, shape an error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, assert_never

import msgspec

from bridge.chat.errors import GatewayError
from bridge.chat.events import ChatEvent, Failed, Finished, FinishReason, KeepAlive, Started, TextDelta, TokenUsage
from bridge.chat.fold import WholeReply
from bridge.chat.request import ChatRequest
from bridge.wire import openai_request, sse
from bridge.wire.bodies import Flaw
from bridge.wire.format import Encoder, ReplyHead, WireFormat
from bridge.wire.openai_errors import error_object, refusal, shape_of

FINISH = {
    FinishReason.STOP: "stop",
    FinishReason.STOP_SEQUENCE: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.TOOL_CALLS: "tool_calls",
    FinishReason.CONTENT_FILTER: "content_filter",
}


class ChatEncoder:
    """
    Chunks of one reply: the role once, texts, the reason, the usage only if asked for, `[DONE]`.

    A chunk is a fixed head, the delta, a fixed tail: all chunks of a reply differ in nothing else.
    """

    def __init__(self, head: ReplyHead) -> None:
        usage = b',"usage":null' if head.include_usage else b""
        self._opening = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,' % (
            sse.json_text(_reply_id(head)),
            head.created,
            sse.json_text(head.model),
        )
        self._chunk = self._opening + b'"system_fingerprint":null,"choices":[{"index":0,"delta":'
        self._text = self._chunk + b'{"content":'
        self._end = b"}]%b}\n\n" % usage
        self._text_end = b'},"logprobs":null,"finish_reason":null' + self._end
        self._include_usage = head.include_usage

    def feed(self, events: Iterable[ChatEvent]) -> bytes:
        """Encode the next events."""
        pieces: list[bytes] = []
        for event in events:
            if isinstance(event, TextDelta):  # the hot path: no call but the escaping
                pieces += (self._text, sse.json_text(event.text), self._text_end)
            else:
                pieces.append(self._seldom(event))
        return b"".join(pieces)

    def _seldom(self, event: Started | KeepAlive | Finished | Failed) -> bytes:
        match event:
            case Started():
                return self._chunk + b'{"role":"assistant","content":"","refusal":null' + self._text_end
            case KeepAlive():
                return sse.COMMENT
            case Finished():
                return self._ending(event)
            case Failed():
                return sse.data(error_object(event.error))  # no [DONE]: it is not a success
            case _:
                assert_never(event)

    def _ending(self, event: Finished) -> bytes:
        reason = FINISH[event.reason].encode()
        chunks = self._chunk + b'{},"logprobs":null,"finish_reason":"%b"' % reason + self._end
        if self._include_usage:
            usage = msgspec.json.encode(_usage(event.usage))
            chunks += self._opening + b'"system_fingerprint":null,"choices":[],"usage":%b}\n\n' % usage
        return chunks + sse.DONE


class OpenAIChat:
    """The format; its one instance is FORMAT."""

    name = "openai"

    def parse(self, body: bytes) -> ChatRequest:
        """Raise InvalidRequest, naming the field, for anything that is not a request."""
        try:
            return openai_request.read(body)
        except Flaw as flaw:
            raise refusal(flaw) from None

    def encoder(self, head: ReplyHead) -> Encoder:
        """Start a streamed reply."""
        return ChatEncoder(head)

    def whole(self, head: ReplyHead, reply: WholeReply) -> bytes:
        """The body of a reply that is not streamed."""
        message: dict[str, Any] = {"role": "assistant", "content": reply.text, "refusal": None, "annotations": []}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": FINISH[reply.reason]}
        return msgspec.json.encode(
            {
                "id": _reply_id(head),
                "object": "chat.completion",
                "created": head.created,
                "model": head.model,
                "choices": [choice],
                "usage": _usage(reply.usage) | _DETAILS,
                "service_tier": "default",
                "system_fingerprint": None,
            }
        )

    def error(self, error: GatewayError, request_id: str) -> tuple[int, bytes]:
        """Status and body of an error before the first byte; the id stands in a header only."""
        return shape_of(error).status, msgspec.json.encode(error_object(error))


_DETAILS = {
    "prompt_tokens_details": {"cached_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0},
}


def _reply_id(head: ReplyHead) -> str:
    return f"chatcmpl-{head.request_id}"


def _usage(usage: TokenUsage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


FORMAT: WireFormat = OpenAIChat()
