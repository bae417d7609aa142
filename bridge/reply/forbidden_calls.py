"""The reply of a model that knows how tools are called and may call none now."""

from __future__ import annotations

from typing import Final

from bridge.chat.events import TextDelta
from bridge.prompt.compose import headings
from bridge.reply.calls.delimiters import Marks
from bridge.reply.calls.marked import MalformedCall
from bridge.reply.calls.parser import CallParser, CallRules


class ForbiddenCalls:
    """Calls between the session's marks are left out. What is nothing but a call is sent as text, without its marks."""

    # The interface of `EmulatedCalls`, as constants: nothing is ever corrected here.
    correction: Final = ""
    cut_off: Final = False
    in_call: Final = False
    calls: Final = 0

    def __init__(self, mark: str) -> None:
        self.outcomes: dict[str, int] = {}
        self._mark = mark
        self._marks = Marks(mark)
        self.discard()

    def discard(self) -> None:
        # Without tools every call is unknown and comes out as `MalformedCall`. No guesses: in a notation of its own it
        # may be an example.
        self._parser = CallParser(self._mark, (), str, CallRules(guesses=False, headings=headings(self._mark)))
        self._left_out = ""
        self._has_text = False

    @property
    def has_left_role(self) -> bool:
        """The model has gone on as somebody else."""
        return self._parser.left_role

    @property
    def in_data(self) -> bool:
        return self._parser.in_data

    def feed(self, text: str) -> list[TextDelta]:
        sent: list[TextDelta] = []
        for piece in self._parser.feed(text):
            self._take(piece, sent)
        return sent

    def end(self) -> list[TextDelta]:
        sent: list[TextDelta] = []
        for piece in self._parser.end():
            self._take(piece, sent)
        # An empty reply helps nobody, and some clients fail on one.
        if self._left_out and not self._has_text:
            sent.append(TextDelta(self._left_out))
        return sent

    def restart(self) -> None:
        """Something else than calls is being corrected."""
        self.discard()

    def retry(self) -> None:
        """There is no second attempt."""

    def _take(self, piece: object, sent: list[TextDelta]) -> None:
        if isinstance(piece, TextDelta):
            sent.append(piece)
            self._has_text = True
        elif isinstance(piece, MalformedCall):
            self.outcomes["refused"] = self.outcomes.get("refused", 0) + 1
            self._left_out = self._left_out or self._marks.without(piece.source)
