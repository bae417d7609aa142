"""What happened within the last minute: sums that grow, and what they were a minute ago. A leaf."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import NamedTuple

from bridge.status.live import LiveRates

WINDOW_SEC = 60.0
MOST_SAMPLES = 64
"""One each two seconds, and some to spare."""


class Sums(NamedTuple):
    """Since the start of the process."""

    turns: int = 0
    failed: int = 0
    tokens: int = 0
    begun: int = 0
    """Turns that had a first token, and the time until then of all of them, in ms."""
    first_ms: int = 0


class Rates:
    """`count` whenever something was counted, `sample` now and then, `last_minute` when somebody looks."""

    def __init__(self) -> None:
        self._sums = Sums()
        # A render of the metrics counts in its thread.
        self._lock = threading.Lock()
        self._samples: deque[tuple[float, Sums]] = deque(maxlen=MOST_SAMPLES)

    def count(self, turns: int, failed: int, tokens: int, begun: int, first_ms: int) -> None:
        with self._lock:
            now = self._sums
            self._sums = Sums(
                now.turns + turns, now.failed + failed, now.tokens + tokens, now.begun + begun, now.first_ms + first_ms
            )

    def sample(self, now: float) -> None:
        """`now` is of a clock that never goes back. However often: they reach back a minute all the same."""
        if not self._samples or now - self._samples[-1][0] >= WINDOW_SEC / MOST_SAMPLES:
            self._samples.append((now, self._sums))

    def last_minute(self, now: float) -> LiveRates:
        before = next((sums for at, sums in self._samples if at >= now - WINDOW_SEC), self._sums)
        turns, failed, tokens, begun, first_ms = (a - b for a, b in zip(self._sums, before, strict=True))
        return LiveRates(turns, failed, tokens, round(first_ms / begun) if begun else None, begun)


RATES = Rates()
"""Of this process."""
RATES.sample(time.monotonic())
