"""Turns to encode, and readers of what was encoded."""

import json
from pathlib import Path

from bridge.chat import errors
from bridge.chat.errors import ConnectionLost, GatewayError
from bridge.chat.events import (
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
from bridge.wire.anthropic.encoder import MessagesReply
from bridge.wire.format import ReplyHead
from bridge.wire.openai.encoder import ChatReply

GOLDEN = Path(__file__).parents[2] / "golden"

HEAD = ReplyHead("9b1c" * 8, "qwen-max", 1795330968)
CHAT, CHAT_WITH_USAGE, MESSAGES = ChatReply(), ChatReply(include_usage=True), MessagesReply()
STARTED = Started("w1-i1", "Qwen", "new", 3, 12)
USAGE = TokenUsage(10, 5, "upstream")
LOST = Failed(ConnectionLost("The upstream service closed the connection."))


def finished(reason=FinishReason.STOP, stop_sequence=None):
    return Finished(reason, USAGE, stop_sequence)


def reply(text="Hello!", reason=FinishReason.STOP, stop_sequence=None):
    return WholeReply([Text(text)] if text else [], reason, USAGE, stop_sequence)


def call(id_, name, *arguments, custom=False):
    """The events of one whole call."""
    deltas = [ToolCallDelta(text) for text in arguments]
    return [ToolCallStarted(id_, name, custom=custom), *deltas, ToolCallEnded()]


WAITING = finished(FinishReason.TOOL_CALLS)
WEATHER = call("call_a1", "get_weather", '{"ci', 'ty":"Paris"}')
THOUGHT = Finished(FinishReason.STOP, TokenUsage(10, 5, "upstream", thinking_tokens=3))

TURNS = {
    "text": [STARTED, TextDelta("Hel"), TextDelta("lo, 世界!\n"), finished()],
    "nasty_text": [STARTED, TextDelta('"\\ \u2028\u2029\x85\x0b\x0c\x1c\x7f\x00 😀'), finished()],
    "empty": [STARTED, finished()],
    "length": [STARTED, TextDelta("Once"), finished(FinishReason.LENGTH)],
    "stop_sequence": [STARTED, TextDelta("1, 2"), finished(FinishReason.STOP_SEQUENCE, "3")],
    "filtered": [STARTED, TextDelta("I"), finished(FinishReason.CONTENT_FILTER)],
    "kept_alive": [KeepAlive(), STARTED, KeepAlive(), TextDelta("Hi"), KeepAlive(), finished()],
    "thinking": [STARTED, ThinkingDelta("I should "), ThinkingDelta("look.\n"), TextDelta("Hello!"), THOUGHT],
    "thinking_only": [STARTED, ThinkingDelta("Hm."), THOUGHT],
    "one_call": [STARTED, *WEATHER, WAITING],
    "calls": [
        STARTED, ThinkingDelta("Both."), TextDelta("Let me look."), *WEATHER, *call("call_b2", "get_time"),
        *call("toolu_3", "write", '{"text":', '"世界 \u2028 \\"', '\\n😀"}'), WAITING,
    ],
    "text_after_a_call": [STARTED, *WEATHER, TextDelta("And now?"), WAITING],
    "executed_call": [STARTED, TextDelta("I ran it."), *WEATHER, TextDelta("Done."), finished()],
    "call_kept_alive": [STARTED, WEATHER[0], KeepAlive(), WEATHER[1], KeepAlive(), *WEATHER[2:], WAITING],
    "cut_off": [STARTED, TextDelta("I look."), *WEATHER[:2], finished(FinishReason.LENGTH)],
    "cut_off_at_once": [STARTED, WEATHER[0], finished(FinishReason.LENGTH)],
    "cut_off_thinking": [STARTED, ThinkingDelta("I sh"), finished(FinishReason.LENGTH)],
    "broken_call": [STARTED, *WEATHER[:2], LOST],
    "broken": [STARTED, TextDelta("Hel"), LOST],
    "broken_at_once": [KeepAlive(), STARTED, LOST],
}  # fmt: skip
CUSTOM = [STARTED, *call("call_c1", "patch", "*** Begin\n", '"x"', custom=True), WAITING]
GOOD_TURNS = [name for name in TURNS if not name.startswith("broken")]


def blocks(stream):
    """The events of a stream as (name or None, data text); checks the framing on the way."""
    assert stream.endswith(b"\n\n")
    found = []
    for block in stream.decode().removesuffix("\n\n").split("\n\n"):
        lines = block.splitlines()  # splits at U+2028 and its like too, as simple clients do
        assert len(lines) <= 2
        if not lines[0].startswith(":"):
            name = lines[0].removeprefix("event: ") if len(lines) == 2 else None
            found.append((name, lines[-1].removeprefix("data: ")))
    return found


def payloads(stream):
    """The JSON events of a stream, without `[DONE]`."""
    return [json.loads(data) for _, data in blocks(stream) if data != "[DONE]"]


def every_error():
    """One error of each class."""
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, GatewayError)]
    return [cls(70, 60) if cls is errors.ContextFull else cls("Wait a little and try again.") for cls in classes]
