"""When an instance comes back: what had worked starts again at once, only what never works waits longer and longer."""

from __future__ import annotations

from collections import deque

from bridge.pool.policy import restart_delay
from gateway_project.lib.backoff import growing

DEATHS, DEATHS_SEC = 5, 60.0
"""So many runs in that time may end without having served a turn before the next one has to wait."""
CALM_SEC = 4.0  # the longest of those waits: such a run does start, and somebody else's turn may well succeed
HOPE_SEC = 60.0  # what has been away for so long is tried on, but no turn waits for it
MOST_BRIEF = 8  # connections in a row that are lost as soon as they are made


class RestartPolicy:
    """The memory of an instance's runs. Times are seconds of any one clock."""

    def __init__(self) -> None:
        self.failures = 0
        """Starts in a row that came to nothing."""
        self.ready = False
        self.served = False
        self.back_at = 0.0
        """When the pause ends that is under way, or was the last."""
        self.up_since = 0.0
        """When it could be used again."""
        self._deaths: deque[float] = deque(maxlen=16)
        self._away_since: float | None = None
        self._brief = 0

    def begin(self, now: float) -> None:
        self.ready = self.served = False
        self._brief = 0
        self._away(now)

    def back(self, now: float) -> None:
        """It can be used, or only lacks a login."""
        self.ready, self._away_since, self.failures, self.up_since = True, None, 0, now

    def clear(self) -> None:
        """Forget what went wrong; a pause that is under way is over."""
        self.failures, self._brief, self.back_at, self._away_since = 0, 0, 0.0, None
        self._deaths.clear()

    def lost(self, now: float, *, worked: bool) -> bool:
        """A connection is gone. False when too many went in a row that had not worked."""
        self._away(now)
        # Without this count a service that accepts and hangs up would be dialled in an endless quick loop.
        self._brief = 0 if worked else self._brief + 1
        return self._brief <= MOST_BRIEF

    def redial_pause(self, tries: int) -> float:
        """Seconds before the next dial: none before the first one after a connection that worked."""
        count = self._brief + tries
        return growing(0.05, count, 1.0) if count else 0.0

    def restart_pause(self, now: float, jitter: float) -> float:
        """Seconds before the next start, after the run that has ended. `jitter` is from 0 to 1."""
        self._away(now)
        # It never came up, so it will hardly do so in a moment: such starts wait longer and longer.
        if not self.ready:
            self.failures += 1
            return restart_delay(self.failures, jitter)
        # A service that worked is worth starting again at once, whatever ended it.
        if self.served:
            self._deaths.clear()
            return 0.0
        self._deaths.append(now)
        excess = sum(now - died < DEATHS_SEC for died in self._deaths) - DEATHS
        # It does come up, so it waits only if it dies often, and never long.
        return min(CALM_SEC, restart_delay(excess, jitter)) if excess > 0 else 0.0

    def keeps_failing(self, now: float) -> bool:
        """True where it has failed twice or more and been away for HOPE_SEC: no turn should wait for its next try."""
        return self.failures > 1 and self._away_since is not None and now - self._away_since > HOPE_SEC

    def _away(self, now: float) -> None:
        # The first moment counts: each failed start calls this again.
        if self._away_since is None:
            self._away_since = now
