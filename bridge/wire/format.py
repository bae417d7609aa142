"""What every public format offers: parse a request, encode its reply, shape an error, and what HTTP must know of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

import msgspec

from bridge.chat.errors import GatewayError
from bridge.chat.events import (
    ChatEvent,
    Failed,
    Finished,
    KeepAlive,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
)
from bridge.chat.fold import WholeReply
from bridge.chat.request import ChatRequest
from bridge.wire.rate_limits import RateLimit, openai_headers


class ReplyHead(msgspec.Struct, frozen=True):
    """What a reply needs beside its request: ids and clocks are arguments in pure rooms."""

    request_id: str
    """32 hex characters; reply ids are made from it (`chatcmpl-…`, `msg_…`)."""
    model: str
    """The name the client asked for."""
    created: int
    """Unix seconds."""
    clock: Callable[[], float] | None = None
    """Unix seconds when called; for formats that show when a reply ended."""


AllButText = Started | ThinkingDelta | ToolCallStarted | ToolCallDelta | ToolCallEnded | KeepAlive | Finished | Failed
"""Every event but TextDelta, which encoders handle inline: it is most of every stream."""


class Encoder(Protocol):
    """A fold over events: bytes of a stream out, nothing else."""

    def feed(self, events: Iterable[ChatEvent]) -> bytes:
        """Encode the next events; b"" for none. After an ending nothing more may come."""

    def text(self, text: str) -> bytes:
        """The same for a text alone, as most chunks are; to be written anew where it can be done for less."""
        return self.feed([TextDelta(text)])

    def passed_on(self, events: int) -> None:
        """So many events of the stream came from another process: for a format that numbers them, or looks back."""
        return


class ReplyFormat(Protocol):
    """How one request wants its reply: what it asked for that concerns nobody but the format itself."""

    def encoder(self, head: ReplyHead) -> Encoder:
        """Start a streamed reply."""

    def whole(self, head: ReplyHead, reply: WholeReply) -> bytes:
        """The body of a reply that is not streamed."""


Reply_co = TypeVar("Reply_co", bound=ReplyFormat, covariant=True)


class ParsedRequest(msgspec.Struct, Generic[Reply_co], frozen=True):
    """A body that was read: the turn to run, and how its reply is encoded."""

    request: ChatRequest
    reply: Reply_co


class WireFormat(ABC):
    """One public format. Its folder has a singleton (`anthropic.format.FORMAT`), which `bridge.wire.formats` lists."""

    name: str
    """A label in usage rows, metrics and logs, at most 16 characters; nothing is decided by it."""
    path: str
    """Where its chats are posted, such as `/v1/messages`."""
    media_type: bytes = b"application/json"
    """Content type of whole replies and of errors."""
    stream_media_type: bytes = b"text/event-stream; charset=utf-8"
    client_headers: tuple[bytes, ...] = ()
    """Request headers that only its clients send. The first shows the format on paths that all formats share."""
    id_header: bytes = b""
    """The response header in which its SDKs look for the request's id, beside `x-request-id`."""
    pages_models: bool = False
    """Its clients read the list of models page by page."""

    # For clients whose base URL is wrong. Paths are those below `/v1/`.
    base_url: str = ""
    """The rule for the base URL of its clients, as the first half of a sentence."""
    other_paths: tuple[str, ...] = ()
    """What is served beside `path`, longer ones first."""
    paths_not_served: tuple[str, ...] = ()
    """What its clients may ask for and do not get here."""
    hides_not_found: bool = False
    """Its agents do not show the words of a 404: chats with a wrong base URL are 400 (FORMATS 6.6)."""

    @abstractmethod
    def parse(self, body: bytes) -> ParsedRequest[ReplyFormat]:
        """Raise InvalidRequest, naming the field, for anything that is not a request."""

    def limit_headers(self, kind: bytes, state: RateLimit) -> list[tuple[bytes, bytes]]:
        """How its clients learn what is left of a limit; `kind` is b"requests" or b"tokens"."""
        return openai_headers(kind, state)

    @abstractmethod
    def error(self, error: GatewayError, request_id: str) -> tuple[int, bytes]:
        """Status and body of an error before the first byte."""
