"""
A call in a notation of the model's own, held until the reply has ended.

Strangers can write such a thing too, and a model may show it to somebody. So it is a call only if it stands alone at
the end of the reply, and if nobody sent it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from bridge.chat.request import Tool
from bridge.reply.calls.cursor import Cursor, MoreNeeded, NoCall, TooMuch
from bridge.reply.calls.delimiters import FENCE
from bridge.reply.calls.guessed_call import GuessedCall
from bridge.reply.calls.notations import LAST, NotationReader
from bridge.reply.calls.pauses import Steps
from bridge.reply.quoting import occurs, stands_free

MOST_HELD = 256 * 1024
"""Characters that are held; more is text."""

_OFTEN = 512
"""So many are looked at with each piece: most of what is no call shows that soon."""

_TAIL = 64  # characters of its end in which the mark may begin, or the end of a call stands
_ENDS = (*LAST, FENCE, "}", "]")


class Outcome(msgspec.Struct, frozen=True):
    """What became of the held text: calls at the end of the reply, or of what the model says as itself, up to `low`;
    or text, in which calls may be from `low` on. Without `more` none are looked for any more.
    """

    text: str
    calls: tuple[GuessedCall, ...] = ()
    low: int = 0
    more: bool = False


class Guesses:
    """What is still looked for, the one that is held, and what it has turned out to be."""

    __slots__ = ("_find", "_opener", "_texts", "current", "in_fence", "left", "outcome", "skip")

    def __init__(
        self,
        most: int,
        opener: str,
        find: Callable[[str], Tool | None],
        texts: Callable[[], Iterable[str]],
    ) -> None:
        self.left = most
        """How many more may begin in this reply."""
        self.current: Guess | None = None
        self.outcome: Outcome | None = None
        """Calls that are sent at the end of the reply, if they are the model's own."""
        self.in_fence = False
        """The fence that has just begun may hold one."""
        self.skip = 0
        """Characters of what is read next in which none is looked for."""
        self._opener = opener
        self._find = find
        self._texts = texts

    def may_begin(self, at: int) -> bool:
        return self.left > 0 and at >= self.skip

    def begin(self, headings: Sequence[str]) -> None:
        self.left -= 1
        self.current = Guess(self._opener, self._find, headings)

    def are_own(self, calls: Sequence[GuessedCall], before: str) -> Steps[bool]:
        """Whether the model makes the calls by itself, and shows them to nobody. `before` is the text before them."""
        # The cheap test first; the other one compares with the whole request.
        if not (yield from stands_free(before)):
            return False
        # A call that the request already holds was shown to the model by somebody: it must not run because it is
        # repeated.
        quotes = [quote for call in calls for quote in call.quotes]
        in_tags = (quote for call in calls for quote in call.in_tags)
        return not (yield from occurs(quotes, self._texts(), in_tags))


class Guess:
    """
    Feed what follows the beginning of what may be a call; get an outcome as soon as there is one.

    A longer text is looked at each time it has doubled, so the work stays in proportion to its length. What comes of it
    depends on the text alone: it is looked at up to the first mark of the conversation, behind which a call is sure.
    """

    def __init__(self, opener: str, find: Callable[[str], Tool | None], headings: Sequence[str]) -> None:
        self._opener = opener
        self._find = find
        self._headings = headings
        self._pieces: list[str] = []
        self._length = 0
        self._next_read = 1
        self._left = MOST_HELD  # characters that may be looked at to see whether a call is complete
        self._tail = ""

    def feed(self, text: str) -> Outcome | None:
        self._pieces.append(text)
        self._length += len(text)
        # Only the end is searched for the mark, so the cost of a piece does not grow with what is held.
        recent = self._tail + text
        self._tail = recent[-_TAIL:]
        over = self._opener in recent or self._length > MOST_HELD
        if not over and self._length < self._next_read:
            return None
        self._next_read = 2 * self._length if self._length > _OFTEN else 0
        held = "".join(self._pieces)
        # Up to the mark only, or the result would depend on how the stream was cut.
        outcome = self._decide(held.partition(self._opener)[0][:MOST_HELD])
        if outcome is None:
            return Outcome(held) if over else None
        return msgspec.structs.replace(outcome, text=held)

    @property
    def is_open(self) -> bool:
        """A call has begun and is not complete. Of a long text the end must look like the end of one."""
        if self._length > _OFTEN:
            # A bound on the work of this property: each answer may read all that is held.
            if self._length > self._left or not self._tail.rstrip().endswith(_ENDS):
                return True
            self._left -= self._length
        cursor = Cursor("".join(self._pieces))
        outcome, _ = self._read(cursor)
        return outcome is None and not cursor.is_complete

    def end(self) -> Outcome:
        held = "".join(self._pieces)
        cursor = Cursor(held)
        outcome, calls = self._read(cursor)
        if outcome is not None:
            return msgspec.structs.replace(outcome, text=held)
        # Calls that are followed by anything else are no calls: then the text stays text.
        return Outcome(held, calls) if cursor.is_complete else Outcome(held)

    def _decide(self, text: str) -> Outcome | None:
        """Without what is, or may be, the beginning of a mark."""
        # Position 0 is the beginning of the guess itself, so it does not count.
        low = text.rfind("<", max(1, len(text) - len(self._opener)))
        outcome, _ = self._read(Cursor(text[:low] if low > 0 and self._opener.startswith(text[low:]) else text))
        return outcome

    def _read(self, cursor: Cursor) -> tuple[Outcome | None, tuple[GuessedCall, ...]]:
        """What is known whatever follows, if anything is; and the calls so far."""
        notations = NotationReader(cursor, self._find)
        try:
            while True:
                notations.block()
                # A forged heading ends the reply, so calls before it stand at its end.
                if self._at_heading(cursor):
                    return Outcome("", tuple(notations.calls), low=cursor.at), ()
        except MoreNeeded:
            return None, tuple(notations.calls)
        except NoCall as none:
            return Outcome("", low=max(none.at, 1), more=not isinstance(none, TooMuch)), ()

    def _at_heading(self, cursor: Cursor) -> bool:
        """Whether the model goes on as somebody else. That ends the reply."""
        cursor.space()
        if cursor.text[cursor.at] != "[" or cursor.text[cursor.at - 1] != "\n":
            return False
        at, found = cursor.at, cursor.take(*self._headings)
        cursor.at = at
        return bool(found)


def read_whole(text: str, find: Callable[[str], Tool | None]) -> tuple[GuessedCall, ...]:
    """The calls that a text consists of; none if it is anything else."""
    cursor = Cursor(text)
    notations = NotationReader(cursor, find)
    try:
        while True:
            notations.block()
    except MoreNeeded:
        return tuple(notations.calls) if cursor.is_complete else ()
    except NoCall:
        return ()
