"""When Python's collector comes: seldom while streams run, and once a minute whatever happens."""

import gc
import time

EVERY_SEC = 60.0
SHARE = 0.001
"""Most of the time that may go into it."""


def settle() -> None:
    """Take what start-up made out of the collector's sight. With its thresholds, a measured 8 % of CPU a chunk."""
    gc.collect()
    # What start-up made lives as long as the process: looking through it at each collection would find nothing.
    gc.freeze()


class Collector:
    """Turns leave nothing behind that needs it, so by itself it would hardly ever come for what else does."""

    def __init__(self) -> None:
        self._due = 0.0

    def check(self, now: float) -> None:
        """Collect when it is time. It takes as long as there is much alive, and then it comes less often."""
        if now < self._due:
            return
        began = time.perf_counter()
        gc.collect()
        # Measured each time: with a large heap a collection a minute would be more than SHARE of the time.
        self._due = now + max(EVERY_SEC, (time.perf_counter() - began) / SHARE)
