"""Whether a text is the model's own word, or only shown by it: in code, in a quotation, or because somebody sent it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from bridge.reply.calls.delimiters import STARTS
from bridge.reply.calls.escaped import Forms, forms
from bridge.reply.calls.guessed_call import VALUE_ENDS
from bridge.reply.calls.pauses import STEP, Steps

MOST_SEARCHED = 4 << 20
"""Characters of a request that are searched; a longer one counts as if it held the quotation."""
MOST_COMPARED = 128 << 20
"""The same for all quotations together: a request is looked through for each."""
_WINDOW = 8 * STEP

# Fences as CommonMark has them: up to three spaces, three or more signs.
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)


class Fences:
    """Feed text; `is_open` says whether a code fence is open behind it. Each line is looked at once."""

    def __init__(self) -> None:
        self._fence = ""
        self._line = ""

    def feed(self, text: str) -> None:
        """More of the text."""
        lines, _, self._line = (self._line + text).rpartition("\n")
        self._fence = _fence_behind(lines, self._fence)

    def is_open(self, more: str = "") -> bool:
        """Whether it is open behind what was fed and `more`."""
        return bool(_fence_behind(self._line + more, self._fence))


def _fence_behind(text: str, fence: str) -> str:
    for found in _FENCE.finditer(text):
        marks, rest = found[1], found[2].strip()
        # A fence of backticks with a backtick in its info string is inline code.
        if not fence:
            fence = "" if marks[0] == "`" and "`" in rest else marks
        elif marks[0] == fence[0] and len(marks) >= len(fence) and not rest:
            fence = ""
    return fence


def stands_free(before: str) -> Steps[bool]:
    """Whether what begins a line behind this text is in no code fence, and goes on no quotation and no block; False
    where nobody can say.
    """
    # A call on a line behind "> " goes on a quotation, even if its own line has no sign (lazy continuation).
    last = before.removesuffix("\n").rpartition("\n")[2]
    if len(before) > MOST_SEARCHED or last.lstrip().startswith(">") or before.rstrip().endswith(STARTS):
        return False
    fences = Fences()
    for at in range(0, len(before), STEP):
        fences.feed(before[at : at + STEP])
        yield
    return not fences.is_open()


def occurs(quotes: Sequence[str], texts: Iterable[str], in_tags: Iterable[str] = ()) -> Steps[bool]:
    """Whether one of these stands in the texts, or across some that follow each other: to the letter but for white
    space, kinds of quotes and capitals, escaped, or on lines that a tool has numbered or marked. `in_tags` are quotes
    too, which are read only where a text has such tags. True where nobody can say.
    """
    request_forms: list[Forms] = []
    left = MOST_SEARCHED
    for text in texts:
        left -= len(text)
        # "True" on purpose: what cannot be checked in time counts as sent by somebody, and no call is made of it.
        if left < 0:
            return True
        request_forms.append((yield from forms(text)))
    # Each form of all texts joined: a quotation may reach across texts that follow each other. A set, as the forms are
    # often equal.
    stacks = {"".join(each) for each in zip(*request_forms, strict=True)}
    if any(tag in stack for stack in stacks for tag in VALUE_ENDS):
        quotes = [*quotes, *in_tags]
    wanted: dict[str, None] = {}
    for quote in quotes:
        wanted.update(dict.fromkeys((yield from _shapes(quote))))
    # Bounded before the search, because the product can be large where each factor is not.
    if sum(map(len, stacks)) * len(wanted) > MOST_COMPARED:
        return True
    for stack in stacks:
        for each in wanted:
            if (yield from _stands_in(each, stack)):
                return True
    return False


def _shapes(quote: str) -> Steps[Iterator[str]]:
    """How it may stand in a text. It may have begun in the middle of a line."""
    within = yield from forms(quote, begins_line=False)
    behind = (yield from forms(quote)).lines
    # A quotation that shrinks to less than half without line marks consists mostly of them; that form would match too
    # much.
    return filter(None, (*within, *([behind] if 2 * len(behind) > len(within.lines) else ())))


def _stands_in(quote: str, text: str) -> Steps[bool]:
    """A window at a time: each ends so far behind the next one's beginning that nothing is missed."""
    if len(quote) > len(text):
        return False
    step = max(_WINDOW, len(quote))
    for at in range(0, len(text), step):
        if text.find(quote, at, at + step + len(quote)) >= 0:
            return True
        yield
    return False
