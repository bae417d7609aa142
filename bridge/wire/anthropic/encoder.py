"""Replies of Messages: the events of a stream, one block after the other and never two open, and the whole body."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
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
from bridge.chat.fold import Call, Text, Thinking, WholeReply
from bridge.wire import sse
from bridge.wire.anthropic.errors import error_object
from bridge.wire.bodies import FieldError, decode
from bridge.wire.format import AllButText, Encoder, ReplyHead

STOP_REASON = {
    FinishReason.STOP: "end_turn",
    FinishReason.STOP_SEQUENCE: "stop_sequence",
    FinishReason.LENGTH: "max_tokens",
    FinishReason.TOOL_CALLS: "tool_use",
    FinishReason.CONTENT_FILTER: "refusal",
}

# Both SDKs drop an event without its `event:` line.
PING = sse.named("ping", {"type": "ping"})
MESSAGE_STOP = sse.named("message_stop", {"type": "message_stop"})
DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"%b","%b":'
DELTA_END = b"}}\n\n"

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Signature:
    """The signature of one thinking block: made of the reply's id and the text, so that it can be made again."""

    def __init__(self, head: ReplyHead) -> None:
        # Nobody checks it here: clients keep it and send it back with the block.
        self._digest = hashlib.sha256(head.request_id.encode())

    def add(self, text: str) -> None:
        self._digest.update(text.encode("utf-8", "replace"))

    def __str__(self) -> str:
        """The signature in base64, as clients receive it."""
        return base64.b64encode(self._digest.digest()).decode()


class MessageEncoder(Encoder):
    """Events of one reply. A block is opened by the first event of its kind and closed by the next of another."""

    def __init__(self, head: ReplyHead) -> None:
        self._head = head
        self._index = -1
        self._open: type[TextDelta | ThinkingDelta | ToolCallDelta] | None = None
        self._delta = b""
        """How an event begins that adds to the open block."""
        self._signature = _Signature(head)
        self._has_arguments = False

    def feed(self, events: Iterable[ChatEvent]) -> bytes:
        pieces: list[bytes] = []
        for event in events:
            if isinstance(event, TextDelta):  # the hot path: no call but the escaping
                # A text after a call or after thinking is a new block: clients address blocks by index.
                if self._open is not TextDelta:
                    pieces.append(self._open_text())
                pieces += (self._delta, sse.json_text(event.text), DELTA_END)
            else:
                pieces.append(self._other(event))
        return b"".join(pieces)

    def text(self, text: str) -> bytes:
        if self._open is not TextDelta:
            return super().text(text)
        return self._delta + sse.json_text(text) + DELTA_END

    def _other(self, event: AllButText) -> bytes:
        match event:
            case ToolCallDelta():
                self._has_arguments = True
                return self._more(event.text)
            case ThinkingDelta():
                return self._think(event.text)
            case ToolCallStarted():
                return self._open_call(event)
            case ToolCallEnded():
                # No argument at all is an empty object: clients parse what they have gathered.
                return (b"" if self._has_arguments else self._more("{}")) + self._close()
            case Started():
                return self._start(event)
            case KeepAlive():
                return PING
            case Finished():
                return self._close() + self._ending(event)
            case Failed():  # neither message_delta nor message_stop may follow
                return sse.named("error", error_object(event.error, self._head.request_id, in_stream=True))
            case _:
                assert_never(event)

    def _more(self, text: str) -> bytes:
        return self._delta + sse.json_text(text) + DELTA_END

    def _think(self, text: str) -> bytes:
        opening = b"" if self._open is ThinkingDelta else self._open_thinking()
        self._signature.add(text)
        return opening + self._more(text)

    def _open_text(self) -> bytes:
        # Close first: `_begin` moves the index on, and the stop event has to name the old one.
        opened = self._close() + self._begin({"type": "text", "text": ""})
        self._open, self._delta = TextDelta, DELTA % (self._index, b"text_delta", b"text")
        return opened

    def _open_thinking(self) -> bytes:
        opened = self._close() + self._begin({"type": "thinking", "thinking": "", "signature": ""})
        # The head of each delta is made once per block, so that a chunk costs only the escaping.
        self._open, self._delta = ThinkingDelta, DELTA % (self._index, b"thinking_delta", b"thinking")
        self._signature = _Signature(self._head)
        return opened

    def _open_call(self, event: ToolCallStarted) -> bytes:
        block = {"type": "tool_use", "id": event.id, "name": event.name, "input": {}}
        opened = self._close() + self._begin(block)
        self._open, self._delta = ToolCallDelta, DELTA % (self._index, b"input_json_delta", b"partial_json")
        self._has_arguments = False
        # Anthropic's own streams begin every call with an empty piece (FORMATS 5.4).
        return opened + self._more("")

    def _begin(self, block: dict[str, Any]) -> bytes:
        self._index += 1
        event = {"type": "content_block_start", "index": self._index, "content_block": block}
        return sse.named("content_block_start", event)

    def _close(self) -> bytes:
        """End the open block, if there is one; a thinking block with its signature."""
        if self._open is None:
            return b""
        signed = b""
        if self._open is ThinkingDelta:
            # The signature is the last delta of its block, as it covers all of the text.
            signed = DELTA % (self._index, b"signature_delta", b"signature")
            signed += sse.json_text(str(self._signature)) + DELTA_END
        self._open = None
        return signed + sse.named("content_block_stop", {"type": "content_block_stop", "index": self._index})

    def _start(self, event: Started) -> bytes:
        message = _message_object(self._head, [], None, None)
        # Clients take 0 for a missing figure.
        message["usage"] = _usage_object(TokenUsage(max(1, event.input_tokens), 1, "estimate"))
        return sse.named("message_start", {"type": "message_start", "message": message})

    def _ending(self, event: Finished) -> bytes:
        delta = {"stop_reason": STOP_REASON[event.reason], "stop_sequence": event.stop_sequence}
        ending = {"type": "message_delta", "delta": delta, "usage": _usage_object(event.usage)}
        return sse.named("message_delta", ending) + MESSAGE_STOP


class MessagesReply:
    """Every request gets its reply in the same way."""

    def encoder(self, head: ReplyHead) -> MessageEncoder:
        return MessageEncoder(head)

    def whole(self, head: ReplyHead, reply: WholeReply) -> bytes:
        """The body of a reply that is not streamed."""
        content = [_block(head, part) for part in reply.parts if _is_shown(part)]
        message = _message_object(head, content, STOP_REASON[reply.reason], reply.stop_sequence)
        message["usage"] = _usage_object(reply.usage) | {"service_tier": "standard"}
        return msgspec.json.encode(message)


def _is_shown(part: Text | Thinking | Call) -> bool:
    # A call that was cut off is left out: a client would run it with half of its arguments.
    return part.complete if isinstance(part, Call) else bool(part.text)


def _block(head: ReplyHead, part: Text | Thinking | Call) -> dict[str, Any]:
    match part:
        case Text():
            return {"type": "text", "text": part.text}
        case Thinking():
            signature = _Signature(head)
            signature.add(part.text)
            return {"type": "thinking", "thinking": part.text, "signature": str(signature)}
        case Call():
            return {"type": "tool_use", "id": part.id, "name": part.name, "input": _input(part.arguments or "{}")}


def _input(arguments: str) -> Mapping[str, object]:
    """The arguments, no deeper decoded than needed; what is no object after all is put into one."""
    try:
        return decode(_OBJECT, arguments.encode("utf-8", "replace"))
    except FieldError:
        # A model may write anything for its arguments. `input` has to be an object all the same.
        return {"input": arguments}


def _message_object(head: ReplyHead, content: list[Any], reason: str | None, sequence: str | None) -> dict[str, Any]:
    """The message object of a reply; the caller adds `usage`."""
    return {
        "id": f"msg_{head.request_id}",
        "type": "message",
        "role": "assistant",
        "model": head.model,
        "content": content,
        "stop_reason": reason,
        "stop_sequence": sequence,
    }


def _usage_object(usage: TokenUsage) -> dict[str, Any]:
    """Tokens as Anthropic counts them: the input without what was cached."""
    counts: dict[str, Any] = {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": usage.output_tokens,
    }
    if usage.thinking_tokens:
        counts["output_tokens_details"] = {"thinking_tokens": usage.thinking_tokens}
    return counts
