"""The short way of what comes of a stream: read, encoded and written at once, while the client keeps up."""

from __future__ import annotations

from collections.abc import Callable

from bridge.chat.events import Piece, TextDelta
from bridge.reply.reader import Reader
from bridge.turn.output import Batch, Direct


class DirectWriter:
    """Does what the task of a turn would do with what comes, as long as it would not have to wait for anything.

    To wake the task for a chunk that comes alone, through all that awaits it, and to hand its bytes to the server as a
    message, takes as long as to read the chunk, encode and write it. The task is woken for what waits: a client that is
    behind, a long piece of work, the end.
    """

    __slots__ = (
        "_encode", "_encode_text", "_is_over", "_is_plain", "_may_be_plain", "_read", "_reader", "_take", "_write",
        "flow", "last",
    )  # fmt: skip

    def __init__(
        self,
        reader: Reader,
        direct: Direct,
        take: Callable[[Batch], Batch],
        is_over: Callable[[], bool],
        *,
        limited: bool,
    ) -> None:
        """`take` makes of events what may be sent, `is_over` says whether nothing may follow."""
        self.flow, self._write, self._encode, self._encode_text = direct
        self.last: Batch | None = None
        """What is to be sent with the end."""
        self._reader = reader
        self._read = reader.read
        self._take = take
        self._is_over = is_over
        self._may_be_plain = not limited
        self._is_plain = False

    def text(self, text: str) -> bool:
        """A piece of text that came alone. False: the turn goes on in its task."""
        events = self._read(text)
        if events is None and self._is_plain:
            self._write(self._encode_text(text))
            return True
        return self._pass_on([TextDelta(text)] if events is None else events)

    def pieces(self, pieces: list[Piece]) -> bool:
        """Pieces that came together. True: they are written; False: the turn goes on in its task."""
        return self._pass_on(self._reader.feed(pieces))

    def _pass_on(self, events: Batch) -> bool:
        # While something is held back `take` has to see all: it sends signs of life by then.
        self._is_plain = self._may_be_plain and bool(events)
        batch = self._take(events)
        if self._is_over():
            self.last = batch
            return False
        if batch:
            self._write(self._encode(batch))
        return True
