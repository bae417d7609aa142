"""Where JSON begins in a reply, and whether it is still open. Pure."""

from __future__ import annotations

import re

from bridge.reply.calls.json_value import ParseStopped, Value

# A brace alone is no sign of JSON, code is full of them: it takes a key with its colon, or the closing brace.
_OBJECT = r"""\{\s{0,40}(?:\}|"(?:[^"\\]|\\.){0,200}"\s{0,20}:|'[^'\\]{0,200}'\s{0,20}:)"""
# Lists only at the beginning of a line, since brackets are common in prose.
_ARRAY = r"""(?:\A|(?<=\n))[ \t]{0,20}\[\s{0,40}(?:[\]{\["'\d-]|true|false|null|True|False|None)"""
BEGINS = {
    "{": re.compile(_OBJECT, re.DOTALL),
    "[": re.compile(_ARRAY),
    "{[": re.compile(f"{_OBJECT}|{_ARRAY}", re.DOTALL),
    '"': re.compile(r'\A\s{0,40}(?:```[\w -]{0,40}\n\s{0,40})?"'),
}
"""By the first character of the value."""

_SIGN = re.compile(r'[{\["]')
_LONGEST = 512  # characters of what shows a beginning


class OpenJson:
    """Append text; ask whether what comes next stands inside a JSON value. What was appended is read when asked."""

    def __init__(self, begins: re.Pattern[str]) -> None:
        self._begins = begins
        self._unread: list[str] = []
        self._window = ""
        self._first = 0  # where in the window a beginning is looked for: before it stands only what it follows
        self._value: Value | None = None

    def append(self, text: str) -> None:
        # Only stored: reading waits until somebody asks, which most replies never need.
        self._unread.append(text)

    @property
    def is_open(self) -> bool:
        self._window += "".join(self._unread)
        self._unread.clear()
        while self._go_on():
            pass
        return self._value is not None

    def _go_on(self) -> bool:
        """Find the beginning of a value, or its end; False when more must be seen."""
        if self._value is None:
            return self._begin()
        try:
            at = self._value.take(self._window, self._first)
        except ParseStopped as problem:
            # No JSON after all: go on behind it. max, or the same beginning would be found again.
            self._value, self._first = None, max(problem.at, self._first)
            return True
        if self._value.done:
            self._value, self._first = None, at
            return True
        self._value.out.clear()
        self._cut(at)
        return False

    def _begin(self) -> bool:
        if found := self._begins.search(self._window, self._first):
            self._value = Value([])
            sign = _SIGN.search(self._window, found.start())
            self._first = sign.start() if sign else found.end()
            return True
        self._cut(max(self._first, len(self._window) - _LONGEST))
        return False

    def _cut(self, at: int) -> None:
        # One character before it is kept: patterns look behind for the line break, or the beginning of the reply.
        self._window, self._first = self._window[max(at - 1, 0) :], min(at, 1)
