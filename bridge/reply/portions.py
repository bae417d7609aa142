"""Much of a reply that came at once, in portions. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bridge.chat.events import Overwritten, Piece, TextDelta
from bridge.reply.calls.pauses import STEP


def portions(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Lists of pieces, none with much more than a step's characters of text; longer texts are cut."""
    portion: list[Piece] = []
    size = 0
    for piece in map(_cut, pieces):
        for part in piece:
            portion.append(part)
            size += len(part.text) if isinstance(part, TextDelta) else 0
            if size >= STEP:
                yield portion
                portion, size = [], 0
    if portion:
        yield portion


def _cut(piece: Piece) -> list[Piece]:
    """What replaces the text so far does it with its first part."""
    if not isinstance(piece, TextDelta | Overwritten) or len(piece.text) <= STEP:
        return [piece]
    # Only the first part replaces the text so far; were the others to, each would void the one before.
    first, rest = piece.text[:STEP], range(STEP, len(piece.text), STEP)
    return [type(piece)(first), *(TextDelta(piece.text[at : at + STEP]) for at in rest)]
