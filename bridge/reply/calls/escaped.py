"""
Whether a text shows another one in strings of JSON, in HTML, or on lines that a tool has numbered or marked.

The words of both are the same wherever such a thing is done. They are looked for first, and only what stands around
them is unescaped: a request is long, and of most of it nothing has to be known.
"""

from __future__ import annotations

import html
import re

_MOST_NESTED = 4
_MOST_STEPS = 100_000
_MOST_KNOWN = 4096
_MOST_RARE = 4
_MARGIN, _BEFORE, _GROWTH = 20, 140, 16  # how far the next word may be: some, what is before a line, and for escapes

_WORD = re.compile(r"[A-Za-z0-9]+")
_ESCAPE = re.compile(r"\\+(?:((?:u[0-9a-fA-F]{4}(?:\\+(?=u[0-9a-fA-F]{4}))?)+)|[bfnrt])?")
_CODE = re.compile(r"u([0-9a-fA-F]{4})")
_BEFORE_LINE = re.compile(r"^(?:[ \t]*(?:(?:[^\s:]{1,100}[:-])?\d{1,9}[:→|\t-]|[>+#*|-]|//))+", re.MULTILINE)

_SPACES = {"n": "\n", "t": "\t"}

Views = tuple[str, str]


class Escaped:
    """A text that is looked for in others. `exhausted`: so much was looked at that nothing can be said any more."""

    def __init__(self, text: str) -> None:
        self.exhausted = False
        plain = _unescaped(text)
        self._words = _WORD.findall(plain)
        self._gaps = [(_views(gap), _reach(gap)) for gap in _WORD.split(plain)]
        self._rarest = sorted(set(self._words), key=len)[-_MOST_RARE:]
        self._steps = _MOST_STEPS
        self._known: dict[str, Views] = {}

    def stands_in(self, text: str) -> bool:
        """Whether the text shows it."""
        if not self._words or any(word not in text for word in self._rarest):
            return False
        first, at = self._words[0], -1
        head, reach = self._gaps[0]
        while not self.exhausted and (at := text.find(first, at + 1)) >= 0:
            before = self._look(text[max(at - reach, 0) : at])
            if any(map(str.endswith, before, head)) and self._follows(text, at + len(first)):
                return True
        return False

    def _follows(self, text: str, end: int) -> bool:
        """Whether all that is behind the first word stands here."""
        for word, (gap, reach) in zip(self._words[1:], self._gaps[1:], strict=False):
            end = self._behind(text, end, word, gap, end + reach + len(word))
            if end < 0:
                return False
        tail, reach = self._gaps[-1]
        return any(map(str.startswith, self._look(text[end : end + reach]), tail))

    def _behind(self, text: str, start: int, word: str, gap: Views, most: int) -> int:
        """Where the next word ends, else -1. It may stand in an escape before its place as well."""
        at = start - 1
        while (at := text.find(word, at + 1, most)) >= 0 and not self.exhausted:
            shown = self._look(text[start:at])
            if shown[0] == gap[0] or shown[1] == gap[1]:
                return at + len(word)
        return -1

    def _look(self, text: str) -> Views:
        self._steps -= 1
        self.exhausted = self._steps < 0
        if text not in self._known and len(self._known) < _MOST_KNOWN:
            self._known[text] = _views(text)
        return self._known.get(text) or _views(text)


def _reach(gap: str) -> int:
    """How many characters may stand for these."""
    return _MARGIN + _GROWTH * len(gap) + (_BEFORE if "\n" in gap else 0)


def _views(text: str) -> Views:
    """The text without escapes and white space, and the same without what tools put before lines."""
    plain = _unescaped(text)
    return "".join(plain.split()), "".join(_BEFORE_LINE.sub("", plain).split())


def _unescaped(text: str) -> str:
    for _ in range(_MOST_NESTED):
        before = text
        if "\\" in text:
            text = _ESCAPE.sub(_meant, text)
        if "&" in text:
            text = html.unescape(text)
        if text == before:
            break
    return text


def _meant(escape: re.Match[str]) -> str:
    """What it stands for, whatever the number of its backslashes: how deep it was nested is not known.

    A space where it is nothing: words on either side are two words.
    """
    if escape[1]:
        units = b"".join(int(code, 16).to_bytes(2, "big") for code in _CODE.findall(escape[1]))
        return units.decode("utf-16-be", "replace")
    return _SPACES.get(escape.group()[-1], " ")
