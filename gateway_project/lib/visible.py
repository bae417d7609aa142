"""Makes text from outside safe to show: control, direction and invisible characters are escaped."""

from __future__ import annotations

HARMLESS = frozenset("\u00a0\u3000")  # blanks that Python does not count as printable


def visible(text: str) -> str:
    """The text with terminal escapes, line breaks, directions and invisible characters escaped as in Python."""
    # Nearly every text, and one call in C.
    if text.isprintable():
        return text
    return "".join([each if each.isprintable() or each in HARMLESS else _escaped(each) for each in text])


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode()
