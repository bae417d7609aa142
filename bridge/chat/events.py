"""The pieces of a reply: `Started`, then thinking, text and calls, then exactly one ending: `Finished` or `Failed`."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from bridge.chat.errors import GatewayError
from gateway_project.lib.token_sources import TokenSource

SessionState = Literal["new", "reused", "rebuilt", "off"]


class FinishReason(StrEnum):
    STOP = "stop"
    STOP_SEQUENCE = "stop_sequence"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


# gc=False here and below: these structs are in no cycle, and a stream makes one for each chunk that the collector would
# have to track.
class TokenUsage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one turn, and whether the service counted them or we did."""

    input_tokens: int
    output_tokens: int
    source: TokenSource
    thinking_tokens: int = 0
    """How many of the output tokens were reasoning."""


class Started(msgspec.Struct, frozen=True, gc=False):
    """An instance has taken the turn. From here on an error is an event inside the stream, no status of its own."""

    instance: str
    lingma_model: str
    session: SessionState
    queue_ms: int
    input_tokens: int
    """An estimate: formats that send it at the start correct it at the end."""


class TextDelta(msgspec.Struct, frozen=True, gc=False):
    """Text to append to the reply; never empty."""

    text: str


class ThinkingDelta(msgspec.Struct, frozen=True, gc=False):
    """Reasoning to append; never empty. Only sent to clients that asked for it."""

    text: str


class ToolCallStarted(msgspec.Struct, frozen=True, gc=False):
    """The model calls a tool of the client. Its deltas follow, nothing else between them but `KeepAlive`."""

    id: str
    name: str
    """As the client knows it (`Tool.wire_name`)."""
    namespace: str = ""
    custom: bool = False


class ToolCallDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of the call's arguments, never empty: together they are one JSON object (plain text if custom)."""

    text: str


class ToolCallEnded(msgspec.Struct, frozen=True, gc=False):
    """The arguments are complete. It is missing only when the reply was cut off in the middle of a call."""


class KeepAlive(msgspec.Struct, frozen=True, gc=False):
    """Nothing happened for a while: a sign of life for the client."""


class Finished(msgspec.Struct, frozen=True, gc=False):
    """The good ending. `stop_sequence` is the one that matched, with reason STOP_SEQUENCE."""

    reason: FinishReason
    usage: TokenUsage
    stop_sequence: str | None = None


class Failed(msgspec.Struct, frozen=True, gc=False):
    """The bad ending, after the first event; before it the error is raised instead."""

    error: GatewayError


# Closed on purpose: encoders end in assert_never, so mypy names every format that misses a new event.
ChatEvent = (
    Started
    | TextDelta
    | ThinkingDelta
    | ToolCallStarted
    | ToolCallDelta
    | ToolCallEnded
    | KeepAlive
    | Finished
    | Failed
)


# Not part of ChatEvent: no encoder sees it, so no public format has to handle it.
class LingmaToolCall(msgspec.Struct, frozen=True):
    """What is known so far of a tool call of the service's own agent (PROTOCOL 17.5). It goes no further than
    the reader of the reply, which decides what of it a client sees.
    """

    id: str
    name: str
    """`tool` when the service did not say."""
    input: bytes = b"{}"
    """JSON of the arguments; `{}` when none are known."""
    state: Literal["pending", "running", "finished", "failed", "cancelled"] = "pending"
    result: bytes = b""
    """JSON of what the service reported; empty for nothing."""
    error: str = ""
    denied: bool = False
    """The gateway refused to let it run."""
    runner: Literal["", "service", "client"] = ""
    """Who runs it, where that was settled otherwise: the service was let, or asks whoever is connected to it."""


class Overwritten(msgspec.Struct, frozen=True, gc=False):
    """The service replaces all the text so far by this one, which is no continuation of it."""

    text: str


Piece = TextDelta | ThinkingDelta | LingmaToolCall | KeepAlive | Overwritten
"""What the connection puts on a turn's list."""
