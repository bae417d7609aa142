"""Words of strangers, safe to show: what moves a cursor, a direction or a line, or is not seen at all, is spelled."""

from __future__ import annotations

HARMLESS = frozenset("\u00a0\u3000")  # blanks that Python does not count as printable


def visible(text: str) -> str:
    """The text with terminal escapes, line breaks, directions and invisible signs spelled as Python spells them."""
    # Nearly every text, and one call in C.
    if text.isprintable():
        return text
    return "".join([each if each.isprintable() or each in HARMLESS else _spelled(each) for each in text])


def _spelled(sign: str) -> str:
    return sign.encode("unicode_escape").decode()
