"""Whether the files of a login that a service writes are whole. Pure."""

from __future__ import annotations

import math
from typing import Final

from bridge.logins.work_dir import Stamp

STABLE_SEC: Final = 3.0  # for which both files have not changed (PROTOCOL 3.2)


class WrittenLogin:
    """`look()` at their stamp now and then; once they are whole and were stored, `stored()`. Times are of one clock."""

    def __init__(self) -> None:
        self.changed_at = math.inf
        self._seen: Stamp | None = None
        self._stored: Stamp | None = None

    def look(self, stamp: Stamp | None, now: float) -> bool:
        """True where the files have another stamp than at the last look."""
        if stamp == self._seen:
            return False
        self._seen, self.changed_at = stamp, now
        return True

    def is_due(self, now: float) -> bool:
        """They were not stored yet, and have been as they are for a while."""
        return self._seen is not None and self._seen != self._stored and now - self.changed_at >= STABLE_SEC

    def stored(self) -> None:
        """Note that the files seen last are stored: they are no news until they change."""
        self._stored = self._seen
