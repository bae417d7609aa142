"""What goes along with a request that one web process hands over to another, in headers of the private listener."""

from __future__ import annotations

import base64
import binascii
from typing import Final

import msgspec

from sessions_store.store import Found

SECRET: Final = b"x-lingma-peer-secret"
"""Shows that a request comes from a process of this gateway."""
TURN: Final = b"x-lingma-peer-turn"
"""A `HandOver`. Such a request is never handed on: one hop."""
TAKEN: Final = b"x-lingma-peer-taken"
"""On the answer: the turn runs there, and its row is written there. Without it the turn comes back."""
FAILED: Final = b"x-lingma-peer-failed"
"""On an answer that is an error: the error itself, for a client that has had signs of life, and so a status."""
PREFIX: Final = b"x-lingma-peer-"


class HandOver(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request that was admitted, and whose session, or whose place, the other process has."""

    request_id: str
    """32 hexadecimal digits."""
    started_at: float
    """Unix seconds."""
    age: float
    """Seconds since it came, which no clock that is set meanwhile changes."""
    client: str
    """The client's address."""
    sender: str
    """The process that it came to."""
    found: Found | None = None
    """The session, which was claimed for this turn; None: only a place is looked for."""
    signs: int = 0
    """Signs of life that the client has had: some formats count them."""
    exits: int | None = None
    """Of services, that the turn was lost with; None: it is not in doubt."""
    left: float | None = None
    """Seconds for which it may still wait for a place; None, of another version: as long as any turn."""
    waited: int = 0
    """Milliseconds for which it has waited for one."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(HandOver).decode


def encoded(hand_over: HandOver) -> str:
    """As it stands in the header."""
    return base64.b64encode(_encode(hand_over)).decode("ascii")


def decoded(value: bytes) -> HandOver | None:
    """None for what is none, or comes from another version."""
    try:
        return _decode(base64.b64decode(value, validate=True))
    except (binascii.Error, msgspec.MsgspecError):
        return None
