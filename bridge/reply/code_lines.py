"""Whether a text of which more may come has just got into code, and what its last line is. Pure."""

from __future__ import annotations

_LONGEST = 300  # characters of a line's beginning and end that are looked at
_FENCES = ("```", "~~~")


class CodeLines:
    """Feed text. Each character is looked at once."""

    def __init__(self) -> None:
        self._fence = ""
        self._beginning = self._end = ""
        self._ticks = 0

    @property
    def in_code(self) -> bool:
        """In a fence, or behind a backtick that is not closed in its line."""
        return bool(self._fence) or self._ticks % 2 == 1

    @property
    def line(self) -> str:
        """The end of the line so far."""
        return self._end

    def feed(self, text: str) -> None:
        """The next piece."""
        *lines, last = text.split("\n")
        for line in lines:
            self._go_on(line)
            self._end_line()
        self._go_on(last)

    def _go_on(self, text: str) -> None:
        if len(self._beginning) < _LONGEST:
            self._beginning += text[:_LONGEST]
        self._end = (self._end + text[-_LONGEST:])[-_LONGEST:]
        self._ticks += text.count("`")

    def _end_line(self) -> None:
        line = self._beginning.strip()
        run = line[: len(line) - len(line.lstrip(line[:1]))] if line.startswith(_FENCES) else ""
        if not self._fence:
            self._fence = run if "`" not in line[len(run) :] else ""
        elif run.startswith(self._fence) and run == line:
            self._fence = ""
        self._beginning = self._end = ""
        self._ticks = 0
