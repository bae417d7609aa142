"""Turns to encode, and readers of what was encoded."""

import json
from pathlib import Path

from bridge.chat import errors
from bridge.chat.errors import ConnectionLost, GatewayError
from bridge.chat.events import Failed, Finished, FinishReason, KeepAlive, Started, TextDelta, TokenUsage
from bridge.chat.fold import Text, WholeReply
from bridge.wire.format import ReplyHead

GOLDEN = Path(__file__).parents[2] / "golden"

HEAD = ReplyHead("9b1c" * 8, "qwen-max", 1795330968)
HEAD_WITH_USAGE = ReplyHead("9b1c" * 8, "qwen-max", 1795330968, include_usage=True)
STARTED = Started("w1-i1", "Qwen", "new", 3, 12)
USAGE = TokenUsage(10, 5, "upstream")
LOST = Failed(ConnectionLost("The upstream service closed the connection."))


def finished(reason=FinishReason.STOP, stop_sequence=None):
    return Finished(reason, USAGE, stop_sequence)


def reply(text="Hello!", reason=FinishReason.STOP, stop_sequence=None):
    return WholeReply([Text(text)] if text else [], reason, USAGE, stop_sequence)


TURNS = {
    "text": [STARTED, TextDelta("Hel"), TextDelta("lo, 世界!\n"), finished()],
    "nasty_text": [STARTED, TextDelta('"\\ \u2028\u2029\x85\x0b\x0c\x1c\x7f\x00 😀'), finished()],
    "empty": [STARTED, finished()],
    "length": [STARTED, TextDelta("Once"), finished(FinishReason.LENGTH)],
    "stop_sequence": [STARTED, TextDelta("1, 2"), finished(FinishReason.STOP_SEQUENCE, "3")],
    "filtered": [STARTED, TextDelta("I"), finished(FinishReason.CONTENT_FILTER)],
    "kept_alive": [KeepAlive(), STARTED, KeepAlive(), TextDelta("Hi"), KeepAlive(), finished()],
    "broken": [STARTED, TextDelta("Hel"), LOST],
    "broken_at_once": [KeepAlive(), STARTED, LOST],
}


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
    return [cls("Wait a little and try again.") for cls in classes]
