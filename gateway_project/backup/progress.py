"""How far a long command is, for somebody who looks on."""

from __future__ import annotations

import sys
import time
from typing import Final

EVERY_SEC: Final = 0.5


class Progress:
    """A line on stderr that is written over; nothing where that is no terminal."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._next = 0.0

    def step(self, what: str, count: int) -> None:
        if self._shown and time.monotonic() >= self._next:
            self._next = time.monotonic() + EVERY_SEC
            sys.stderr.write(f"\r\x1b[K{what}: {count:,}")
            sys.stderr.flush()

    def end(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
