"""The pieces of a reply. A turn is `Started`, then text, then exactly one ending: `Finished` or `Failed`."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from bridge.chat.errors import GatewayError

SessionState = Literal["new", "reused", "rebuilt", "off"]
UsageSource = Literal["upstream", "estimate"]


class FinishReason(StrEnum):
    """Why the model stopped."""

    STOP = "stop"
    STOP_SEQUENCE = "stop_sequence"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


class TokenUsage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one turn, and whether the service counted them or we did."""

    input_tokens: int
    output_tokens: int
    source: UsageSource


class Started(msgspec.Struct, frozen=True, gc=False):
    """An instance has taken the turn; from here on errors are told inside a stream."""

    instance: str
    lingma_model: str
    session: SessionState
    queue_ms: int
    input_tokens: int
    """An estimate: formats that tell it at the start correct it at the end."""


class TextDelta(msgspec.Struct, frozen=True, gc=False):
    """Text to append to the reply; never empty."""

    text: str


class KeepAlive(msgspec.Struct, frozen=True, gc=False):
    """Nothing happened for a while: tell the client that the turn lives."""


class Finished(msgspec.Struct, frozen=True, gc=False):
    """The good ending. `stop_sequence` is the one that matched, with reason STOP_SEQUENCE."""

    reason: FinishReason
    usage: TokenUsage
    stop_sequence: str | None = None


class Failed(msgspec.Struct, frozen=True, gc=False):
    """The bad ending, after the first event; before it the error is raised instead."""

    error: GatewayError


ChatEvent = Started | TextDelta | KeepAlive | Finished | Failed
