"""The messages between web processes of one gateway: one MessagePack array each, behind its length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from bridge.chat import errors
from bridge.chat.errors import GatewayError, InternalError
from bridge.chat.events import LingmaToolCall, Overwritten, Piece, TextDelta, ThinkingDelta
from bridge.lingma.dialects.base import Ask, LoggedUsage, Model
from bridge.lingma.tools.policy import Decision
from bridge.pool.instances.runs import Exit
from bridge.pool.policy import Line
from bridge.status.instance import InstanceStatus

MOST_BYTES = 64 << 20
"""Of one message: twice the largest question."""


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The first message: which process this is."""

    process: int


class Demand(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """So many turns wait here, and this is the line that is next. `seen` counts the grants that had come by then."""

    count: int
    seen: int
    line: Line


class Question(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Ask the instance of the lease; what comes back carries the number of the turn."""

    lease: int
    turn: int
    ask: Ask


class Stop(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Nobody wants the rest of this turn."""

    turn: int


class Image(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Upload an image to the instance of the lease."""

    lease: int
    number: int
    data_uri: str


class Release(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """The place is not needed any more."""

    lease: int


class CrashCheck(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """Has this run of this instance ended by itself? Answered by a CrashResult."""

    number: int
    name: str
    generation: int


class SignOfLife(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """A sign of life."""


class Snapshot(msgspec.Struct, frozen=True, array_like=True, tag=20):
    """How the instances of this process are, what their accounts offer, and how many places are free."""

    instances: list[InstanceStatus]
    models: list[Model]
    free: int


class Room(msgspec.Struct, frozen=True, array_like=True, tag=21):
    """How many places are free, where none was."""

    free: int


class Grant(msgspec.Struct, frozen=True, array_like=True, tag=22):
    """A place for whoever waits, until it is released."""

    lease: int
    name: str
    generation: int
    free: int


PackedPiece = tuple[int, str | LingmaToolCall]


class Pieces(msgspec.Struct, frozen=True, array_like=True, tag=24):
    """What came of a turn."""

    turn: int
    pieces: list[PackedPiece]
    decisions: list[Decision] = []


class Failure(msgspec.Struct, frozen=True):
    """An error: its class and what it holds."""

    kind: str
    message: str
    holds: dict[str, Any]


class Ended(msgspec.Struct, frozen=True, array_like=True, tag=25):
    """The end of a turn. `late`: a Usage follows soon, `may_come`: it may, however late."""

    turn: int
    session_id: str = ""
    failure: Failure | None = None
    usage: LoggedUsage | None = None
    late: bool = False
    may_come: bool = False


class Usage(msgspec.Struct, frozen=True, array_like=True, tag=26):
    """What the service has logged of a turn, later than its end."""

    turn: int
    usage: LoggedUsage | None


class Uploaded(msgspec.Struct, frozen=True, array_like=True, tag=27):
    """What became of an image: its URL, or why there is none."""

    number: int
    url: str
    failure: Failure | None = None


class CrashResult(msgspec.Struct, frozen=True, array_like=True, tag=28):
    """How that run of the instance has ended by itself; None: it has not."""

    number: int
    exit: Exit | None


# One union for each direction: a message that the other side may not send is not even decoded.
FromBorrower = Hello | Demand | Question | Stop | Image | Release | CrashCheck | SignOfLife
FromLender = Snapshot | Room | Grant | Pieces | Ended | Usage | Uploaded | CrashResult

_KINDS: tuple[type[TextDelta] | type[ThinkingDelta] | type[Overwritten], ...] = (TextDelta, ThinkingDelta, Overwritten)
_NUMBERS = {kind: number for number, kind in enumerate(_KINDS)}
_CALL = len(_KINDS)


def pack_pieces(pieces: Sequence[Piece]) -> list[PackedPiece]:
    """Pieces as they are sent. Signs of life are left out: who has the client makes its own."""
    packed: list[PackedPiece] = []
    for piece in pieces:
        if isinstance(piece, LingmaToolCall):
            packed.append((_CALL, piece))
        # A number and a text, not a tagged struct: this runs for every chunk of a borrowed turn.
        elif isinstance(piece, _KINDS):
            packed.append((_NUMBERS[type(piece)], piece.text))
    return packed


def unpack_piece(packed: PackedPiece) -> Piece:
    kind, content = packed
    if isinstance(content, LingmaToolCall):
        return content
    return _KINDS[kind](content)


def failure_of(error: GatewayError) -> Failure:
    # The whole error travels, not its text alone: status, code and `Retry-After` are what the client gets.
    return Failure(type(error).__name__, str(error), dict(vars(error)))


def error_of(failure: Failure) -> GatewayError:
    # Only classes of ours: the name comes over the socket.
    kind = _error_kinds().get(failure.kind, InternalError)
    # Past `__init__`, whose arguments differ from class to class; what it sets is in `holds`.
    error = kind.__new__(kind, failure.message)
    vars(error).update(failure.holds)
    # MessagePack has no tuples, so it came back as a list.
    error.param = tuple(error.param)
    return error


def _error_kinds() -> dict[str, type[GatewayError]]:
    kinds: dict[str, type[GatewayError]] = {}
    # Walked anew each time, as subclasses are defined in modules that may be loaded later. Errors are rare.
    left = [errors.GatewayError]
    while left:
        kind = left.pop()
        kinds[kind.__name__] = kind
        left += kind.__subclasses__()
    return kinds
