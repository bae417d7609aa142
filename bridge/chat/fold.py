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


def fold(events: Iterable[ChatEvent]) -> WholeReply:
    """All the events of a turn to its reply. Raise the error of a `Failed`."""
    parts: list[str] = []
    for event in events:
        match event:
            case TextDelta():
                parts.append(event.text)
            case Finished():
                return WholeReply("".join(parts), event.reason, event.usage, event.stop_sequence)
            case Failed():
                raise event.error
            case Started() | KeepAlive():
                pass
            case _:
                assert_never(event)
    raise ValueError("a turn without an ending")
