"""Events to one whole reply: what a request without `stream` gets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

import msgspec

from bridge.chat.events import ChatEvent, Failed, Finished, FinishReason, KeepAlive, Started, TextDelta, TokenUsage


class WholeReply(msgspec.Struct):
    """A finished reply."""

    text: str
    reason: FinishReason
    usage: TokenUsage
    stop_sequence: str | None = None


class Fold:
    """Collect a turn's events; `reply` is set by the good ending, a bad one is raised."""

    def __init__(self) -> None:
        self.reply: WholeReply | None = None
        self._parts: list[str] = []

    def feed(self, events: Iterable[ChatEvent]) -> None:
        """Take the next events. Raise the error of a `Failed`."""
        for event in events:
            match event:
                case TextDelta():
                    self._parts.append(event.text)
                case Finished():
                    self.reply = WholeReply("".join(self._parts), event.reason, event.usage, event.stop_sequence)
                case Failed():
                    raise event.error
                case Started() | KeepAlive():
                    pass
                case _:
                    assert_never(event)
