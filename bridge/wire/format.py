"""What every public format offers: parse a request, encode a reply, shape an error."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from bridge.chat.errors import GatewayError
from bridge.chat.events import (
    ChatEvent,
    Failed,
    Finished,
    KeepAlive,
    Started,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
)
from bridge.chat.fold import WholeReply
from bridge.chat.request import ChatRequest


class ReplyHead(msgspec.Struct, frozen=True):
    """What the caller of an encoder decides: ids and clocks are arguments in pure rooms."""

    request_id: str
    """32 hex characters; reply ids are made from it (`chatcmpl-…`, `msg_…`)."""
    model: str
    """The name the client asked for."""
    created: int
    """Unix seconds."""
    include_usage: bool = False
    echo: msgspec.Struct | None = None
    """`ChatRequest.echo`."""
    clock: Callable[[], float] | None = None
    """Unix seconds when asked; for formats that tell when a reply ended."""


AllButText = Started | ThinkingDelta | ToolCallStarted | ToolCallDelta | ToolCallEnded | KeepAlive | Finished | Failed
"""What an encoder has a method for; text, being most of every stream, goes by a shorter way."""


class Encoder(Protocol):
    """A fold over events: bytes of server-sent events out, nothing else."""

    def feed(self, events: Iterable[ChatEvent]) -> bytes:
        """Encode the next events; b"" for none. After an ending nothing more may come."""


class WireFormat(Protocol):
    """One public format; a module's singleton (`openai_chat.FORMAT`, `anthropic.FORMAT`)."""

    name: str
    """`openai` or `anthropic`: goes into usage rows and metrics."""

    def parse(self, body: bytes) -> ChatRequest:
        """Raise InvalidRequest, naming the field, for anything that is not a request."""

    def encoder(self, head: ReplyHead) -> Encoder:
        """Start a streamed reply."""

    def whole(self, head: ReplyHead, reply: WholeReply) -> bytes:
        """The body of a reply that is not streamed."""

    def error(self, error: GatewayError, request_id: str) -> tuple[int, bytes]:
        """Status and body of an error before the first byte."""
