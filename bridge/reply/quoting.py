"""Whether a text is the model's own word, or only shown by it: in code, in a quotation, or because somebody sent it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from bridge.reply.calls.delimiters import STARTS
from bridge.reply.calls.escaped import Escaped

MOST_SEARCHED = 4 << 20
"""Characters of a request that are looked at; of a longer one nothing can be said."""

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)


def stands_free(before: str) -> bool:
    """Whether what begins a line behind this text is in no code fence, and goes on no quotation and no block."""
    last = before.removesuffix("\n").rpartition("\n")[2]
    return not (last.lstrip().startswith(">") or before.rstrip().endswith(STARTS) or in_fence(before))


def in_fence(text: str) -> bool:
    """Whether a code fence is open at its end."""
    fence = ""
    for found in _FENCE.finditer(text):
        marks, rest = found[1], found[2].strip()
        if not fence:
            fence = "" if marks[0] == "`" and "`" in rest else marks
        elif marks[0] == fence[0] and len(marks) >= len(fence) and not rest:
            fence = ""
    return bool(fence)


def occurs(quotes: Sequence[str], texts: Iterable[str]) -> bool:
    """Whether one of these stands in one of the texts, to the letter but for white space, or escaped; True where nobody
    can say.
    """
    wanted = {"".join(quote.split()) for quote in quotes} - {""}
    escaped = [Escaped(quote) for quote in quotes]
    left = MOST_SEARCHED
    for text in texts:
        left -= len(text)
        if left < 0:
            return True
        bare = "".join(text.split())
        if any(each in bare for each in wanted) or any(each.stands_in(text) or each.exhausted for each in escaped):
            return True
    return False
