"""Ids, clock and dice; the same every time when seeded."""

from __future__ import annotations

import random
import time
import uuid

SEEDED_START_MS = 1_774_432_779_540


class IdsAndClock:
    """Real by default; with a seed every run gives the same."""

    def __init__(self, seed: int = 0) -> None:
        self.seeded = bool(seed)
        self._dice = random.Random(seed or None)  # noqa: S311 - nothing here is a secret
        self._readings = 0

    def uuid(self) -> str:
        """A version 4 UUID with dashes."""
        return str(uuid.UUID(int=self._dice.getrandbits(128), version=4))

    def hex(self) -> str:
        """32 hexadecimal digits."""
        return f"{self._dice.getrandbits(128):032x}"

    def between(self, low: float, high: float) -> float:
        """A figure in the range; seeded: its middle."""
        # No draw when seeded: the number of draws would depend on timing, and move every later id.
        return low + (high - low) * (0.5 if self.seeded else self._dice.random())

    def now_ms(self) -> int:
        """Unix time in ms; seeded: one more at every reading."""
        if self.seeded:
            # Still rising, as clients sort by it.
            self._readings += 1
            return SEEDED_START_MS + self._readings
        return time.time_ns() // 1_000_000
