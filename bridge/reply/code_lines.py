"""Whether a text of which more may come has just got into code, and what its last line is. Pure."""

from __future__ import annotations

_LONGEST = 300  # characters of a line's beginning and end that are looked at
_FENCES = ("```", "~~~")


class CodeLines:
    """Feed text. Each character is looked at once."""

    def __init__(self) -> None:
        self.pieces_read = 0
        """Kept by the caller: how many of its pieces were fed."""
        self._fence = ""
        self._beginning = self._end = ""
        self._ticks = 0

    @property
    def in_code(self) -> bool:
        """In a fence, or behind a backtick that is not closed in its line."""
        return bool(self._fence) or self._ticks % 2 == 1

    @property
    def line(self) -> str:
        return self._end

    def feed(self, text: str) -> None:
        *lines, last = text.split("\n")
        for line in lines:
            self._go_on(line)
            self._end_line()
        self._go_on(last)

    def _go_on(self, text: str) -> None:
        # A fence shows at the beginning of its line, so endless lines need not be kept.
        if len(self._beginning) < _LONGEST:
            self._beginning += text[:_LONGEST]
        self._end = (self._end + text[-_LONGEST:])[-_LONGEST:]
        # Pairs of backticks cancel out within a line; only an odd number leaves code open.
        self._ticks += text.count("`")

    def _end_line(self) -> None:
        # Indented fences count too: models indent them in lists.
        line = self._beginning.strip()
        run = line[: len(line) - len(line.lstrip(line[:1]))] if line.startswith(_FENCES) else ""
        if not self._fence:
            # A fence with a backtick behind it is inline code (CommonMark).
            self._fence = run if "`" not in line[len(run) :] else ""
        # Closed by at least as many of the same sign, and nothing behind them.
        elif run.startswith(self._fence) and run == line:
            self._fence = ""
        self._beginning = self._end = ""
        self._ticks = 0
