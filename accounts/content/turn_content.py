"""The content of one turn as it is kept, and its packed form."""

from __future__ import annotations

import zlib
from typing import Literal

import msgspec

PieceKind = Literal["text", "thinking", "call", "error", "gap"]
LEVEL = 1  # of the compression: text comes to a third, and more would take longer than to send it


class Picture(msgspec.Struct, omit_defaults=True, frozen=True):
    """An image of a message, without its bytes."""

    type: str = ""
    """Empty: it was given by an address."""
    size: int = 0
    """Bytes; 0 where nobody knows."""


class MadeCall(msgspec.Struct):
    """A call that the model had made in an earlier turn."""

    id: str
    name: str
    arguments: str


class StoredMessage(msgspec.Struct, omit_defaults=True):
    """One message of the request; or with the role `gap`, `left_out` messages that are not kept."""

    role: str
    text: str = ""
    pictures: list[Picture] = []
    calls: list[MadeCall] = []
    answers: str = ""
    """Id of the call whose result it is."""
    left_out: int = 0


class Piece(msgspec.Struct, omit_defaults=True):
    """A part of the reply; or of the kind `gap`, `left_out` characters that are not kept."""

    kind: PieceKind
    text: str = ""
    name: str = ""
    """Of the tool that is called."""
    left_out: int = 0


class TurnContent(msgspec.Struct, omit_defaults=True):
    """What was asked, as the gateway understood it, and what was sent to the client."""

    messages: list[StoredMessage]
    tools: list[str] = []
    """Names alone."""
    reply: list[Piece] = []


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(TurnContent).decode


def packed(content: TurnContent) -> bytes:
    # Half of a surrogate pair, which JSON can escape, has no UTF-8. None comes here: `bridge/wire/bodies` and
    # `bridge/reply/calls` replace it where they read it.
    return zlib.compress(_encode(content), LEVEL)


def unpacked(data: bytes) -> TurnContent:
    """Raise ValueError for what is none."""
    try:
        return _decode(zlib.decompress(data))
    except (zlib.error, msgspec.DecodeError) as exc:
        raise ValueError("this is no content of a turn") from exc
