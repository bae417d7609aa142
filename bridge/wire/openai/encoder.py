"""Replies of Chat Completions: chunks of a stream, and the whole body."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, assert_never

import msgspec

from bridge.chat.events import (
    ChatEvent,
    Failed,
    Finished,
    FinishReason,
    KeepAlive,
    Started,
    TextDelta,
    ThinkingDelta,
    TokenUsage,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
)
from bridge.chat.fold import Text, WholeReply
from bridge.wire import sse
from bridge.wire.format import AllButText, Encoder, ReplyHead
from bridge.wire.openai.chat_calls import CallDeltas, FunctionCall, ToolCalls, whole_calls
from bridge.wire.openai.errors import error_object

FINISH = {
    FinishReason.STOP: "stop",
    FinishReason.STOP_SEQUENCE: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.TOOL_CALLS: "tool_calls",
    FinishReason.CONTENT_FILTER: "content_filter",
}


class ChatEncoder(Encoder):
    """
    Chunks of one reply: the role once, reasoning, texts, calls, the reason, the usage only if asked for, `[DONE]`.

    A chunk is a fixed head, the delta, a fixed tail: all chunks of a reply differ in nothing else.
    """

    def __init__(self, head: ReplyHead, *, include_usage: bool, functions: bool) -> None:
        usage = b',"usage":null' if include_usage else b""
        self._opening = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,' % (
            sse.json_text(_reply_id(head)),
            head.created,
            sse.json_text(head.model),
        )
        # Built once per reply: a chunk of text is then three pieces and the escaping, no JSON encoder.
        self._chunk = self._opening + b'"system_fingerprint":null,"choices":[{"index":0,"delta":'
        self._text = self._chunk + b'{"content":'
        self._end = b"}]%b}\n\n" % usage
        self._delta_end = b',"logprobs":null,"finish_reason":null' + self._end
        self._text_end = b"}" + self._delta_end
        self._include_usage = include_usage
        self._functions = functions
        self._calls: CallDeltas = FunctionCall() if functions else ToolCalls()

    def feed(self, events: Iterable[ChatEvent]) -> bytes:
        pieces: list[bytes] = []
        for event in events:
            if isinstance(event, TextDelta):  # the hot path: no call but the escaping
                pieces += (self._text, sse.json_text(event.text), self._text_end)
            else:
                pieces.append(self._other(event))
        return b"".join(pieces)

    def text(self, text: str) -> bytes:
        return self._text + sse.json_text(text) + self._text_end

    def _other(self, event: AllButText) -> bytes:
        match event:
            case ToolCallDelta():
                return self._delta(self._calls.more(event.text))
            case Started():
                # The role stands in the first chunk alone: clients concatenate strings of later ones.
                return self._chunk + b'{"role":"assistant","content":"","refusal":null}' + self._delta_end
            case Finished():
                return self._ending(event)
            case ThinkingDelta():
                return self._delta(b'{"reasoning_content":%b}' % sse.json_text(event.text))
            case ToolCallStarted():
                return self._delta(self._calls.start(event))
            case ToolCallEnded():
                return self._delta(self._calls.end())
            case KeepAlive():
                return sse.COMMENT
            case Failed():
                return sse.data(error_object(event.error))  # no [DONE]: it is not a success
            case _:
                assert_never(event)

    def _delta(self, delta: bytes) -> bytes:
        # No delta, no chunk: an empty one would only wake up the client.
        return self._chunk + delta + self._delta_end if delta else b""

    def _ending(self, event: Finished) -> bytes:
        reason = _finish(event.reason, functions=self._functions).encode()
        chunks = self._chunk + b'{},"logprobs":null,"finish_reason":"%b"' % reason + self._end
        if self._include_usage:
            usage = msgspec.json.encode(_stream_usage(event.usage))
            # The chunk with the usage has no choices, and comes after the one with the reason (FORMATS 2.4).
            chunks += self._opening + b'"system_fingerprint":null,"choices":[],"usage":%b}\n\n' % usage
        return chunks + sse.DONE


class ChatReply(msgspec.Struct, frozen=True):
    """How one request wants its reply to look."""

    include_usage: bool = False
    """`stream_options.include_usage`: the last chunk of a stream has the usage."""
    functions: bool = False
    """It declared `functions`, deprecated: its client looks for `function_call` in the reply."""

    def encoder(self, head: ReplyHead) -> ChatEncoder:
        return ChatEncoder(head, include_usage=self.include_usage, functions=self.functions)

    def whole(self, head: ReplyHead, reply: WholeReply) -> bytes:
        """The body of a reply that is not streamed."""
        usage = reply.usage
        return _WHOLE % (
            sse.json_text(_reply_id(head)),
            head.created,
            sse.json_text(head.model),
            _message(reply, functions=self.functions),
            _finish(reply.reason, functions=self.functions).encode(),
            usage.input_tokens,
            usage.output_tokens,
            usage.input_tokens + usage.output_tokens,
            usage.thinking_tokens,
        )


def _reply_id(head: ReplyHead) -> str:
    return f"chatcmpl-{head.request_id}"


def _finish(reason: FinishReason, *, functions: bool) -> str:
    return "function_call" if functions and reason is FinishReason.TOOL_CALLS else FINISH[reason]


_WHOLE = (
    b'{"id":%b,"object":"chat.completion","created":%d,"model":%b,'
    b'"choices":[{"index":0,"message":%b,"logprobs":null,"finish_reason":"%b"}],'
    b'"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,'
    b'"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":%d}},'
    b'"service_tier":"default","system_fingerprint":null}'
)
_MESSAGE = b'{"role":"assistant","content":%b,"refusal":null,"annotations":[]}'


def _message(reply: WholeReply, *, functions: bool) -> bytes:
    if len(reply.parts) == 1 and isinstance(reply.parts[0], Text):  # as most are
        return _MESSAGE % sse.json_text(reply.parts[0].text)
    return msgspec.json.encode(_message_object(reply, functions=functions))


def _message_object(reply: WholeReply, *, functions: bool) -> dict[str, Any]:
    calls = whole_calls(reply.calls)
    # A reply that only calls tools has the content null, as OpenAI sends it.
    text = reply.text
    message: dict[str, Any] = {
        "role": "assistant",
        "content": text if text or not calls else None,
        "refusal": None,
        "annotations": [],
    }
    if thinking := reply.thinking:
        message["reasoning_content"] = thinking
    if calls and functions:
        # The old form has one call a reply; the request has forbidden more of them.
        message["function_call"] = calls[0]["function"]
    elif calls:  # absent when there are none: clients test for presence
        message["tool_calls"] = calls
    return message


def _usage(usage: TokenUsage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def _stream_usage(usage: TokenUsage) -> dict[str, Any]:
    shown = _usage(usage)
    if usage.thinking_tokens:
        shown["completion_tokens_details"] = {"reasoning_tokens": usage.thinking_tokens}
    return shown
