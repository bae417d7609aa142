"""Events to one whole reply: what a request without `stream` gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

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

_TEXT_ALONE = {Started, TextDelta, Finished}


class Text(msgspec.Struct):
    text: str


class Thinking(msgspec.Struct):
    text: str


class Call(msgspec.Struct):
    """A call; `arguments` is JSON text, or plain text if custom. One that was cut off is not `complete`."""

    id: str
    name: str
    arguments: str = ""
    namespace: str = ""
    custom: bool = False
    complete: bool = False


class WholeReply(msgspec.Struct):
    """A finished reply, its parts in the order in which they came."""

    parts: list[Text | Thinking | Call]
    reason: FinishReason
    usage: TokenUsage
    stop_sequence: str | None = None

    @property
    def text(self) -> str:
        """The answer, without reasoning and calls."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def thinking(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Thinking))

    @property
    def calls(self) -> list[Call]:
        return [part for part in self.parts if isinstance(part, Call)]


def fold(events: Sequence[ChatEvent]) -> WholeReply:
    """All the events of a turn to its reply. Raise the error of a `Failed`."""
    # As most replies: text alone, which needs no look at each event.
    if {*map(type, events)} == _TEXT_ALONE and type(last := events[-1]) is Finished:
        text = "".join([event.text for event in events if type(event) is TextDelta])
        return WholeReply([Text(text)], last.reason, last.usage, last.stop_sequence)
    parts: list[Text | Thinking | Call] = []
    # Joined once for each part: adding strings piece by piece is quadratic over a long reply.
    pieces: list[str] = []
    for event in events:
        match event:
            case TextDelta() | ThinkingDelta() | ToolCallDelta():
                # The part must exist before its piece is gathered: `_close` gives pieces to the last part.
                _open(parts, pieces, event)
                pieces.append(event.text)
            case Started() | KeepAlive():
                pass
            case Finished():
                _close(parts, pieces)
                return WholeReply(parts, event.reason, event.usage, event.stop_sequence)
            case ToolCallStarted():
                _close(parts, pieces)
                parts.append(Call(event.id, event.name, "", event.namespace, event.custom))
            case ToolCallEnded():
                _close(parts, pieces)
                if parts and isinstance(parts[-1], Call):
                    parts[-1].complete = True
            case Failed():
                raise event.error
            case _:
                assert_never(event)
    # The engine promises one ending; without it the reply is unknown and must not pass for a whole one.
    raise ValueError("a turn without an ending")


def _open(
    parts: list[Text | Thinking | Call], pieces: list[str], event: TextDelta | ThinkingDelta | ToolCallDelta
) -> None:
    """Begin a new part when the last one is of another kind; a call's part begins with its start."""
    if isinstance(event, ToolCallDelta):
        return
    kind = Text if isinstance(event, TextDelta) else Thinking
    if not parts or type(parts[-1]) is not kind:
        _close(parts, pieces)
        parts.append(kind(""))


def _close(parts: list[Text | Thinking | Call], pieces: list[str]) -> None:
    """Give the last part what has been gathered for it."""
    if not pieces:
        return
    last, gathered = parts[-1], "".join(pieces)
    pieces.clear()
    if isinstance(last, Call):
        last.arguments += gathered
    else:
        last.text += gathered
