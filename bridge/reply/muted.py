"""The reply of a model that knows how tools are called and may call none now."""

from __future__ import annotations

from typing import Final

from bridge.chat.events import TextDelta
from bridge.prompt.compose import headings
from bridge.reply.calls.delimiters import Marks
from bridge.reply.calls.marked import Flawed
from bridge.reply.calls.parser import CallParser, Reading


class MutedCalls:
    """Calls between the session's marks are left out. What is nothing but a call is told as text, without its marks."""

    # The interface of `Emulation`, as constants: nothing is ever corrected here.
    correction: Final = ""
    cut_off: Final = False
    in_call: Final = False
    calls: Final = 0

    def __init__(self, mark: str) -> None:
        self.outcomes: dict[str, int] = {}
        self._mark = mark
        self._marks = Marks(mark)
        self.forget()

    def forget(self) -> None:
        # Without tools every call is unknown and comes out as `Flawed`. No guesses: in a notation of its own it may be
        # an example.
        self._parser = CallParser(self._mark, (), str, Reading(guesses=False, headings=headings(self._mark)))
        self._left_out = ""
        self._told = False

    @property
    def has_strayed(self) -> bool:
        """The model has gone on as somebody else."""
        return self._parser.strayed

    @property
    def in_data(self) -> bool:
        return self._parser.in_data

    def feed(self, text: str) -> list[TextDelta]:
        told: list[TextDelta] = []
        for piece in self._parser.feed(text):
            self._take(piece, told)
        return told

    def end(self) -> list[TextDelta]:
        told: list[TextDelta] = []
        for piece in self._parser.end():
            self._take(piece, told)
        # An empty reply helps nobody, and some clients fail on one.
        if self._left_out and not self._told:
            told.append(TextDelta(self._left_out))
        return told

    def restart(self) -> None:
        """Something else than calls is being corrected."""
        self.forget()

    def again(self) -> None:
        """There is no second attempt."""

    def _take(self, piece: object, told: list[TextDelta]) -> None:
        if isinstance(piece, TextDelta):
            told.append(piece)
            self._told = True
        elif isinstance(piece, Flawed):
            self.outcomes["refused"] = self.outcomes.get("refused", 0) + 1
            self._left_out = self._left_out or self._marks.without(piece.source)
