"""The log lines about an instance's failures: each once at its beginning, then counted; and once that it is well."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)

AGAIN_SEC = 600.0  # before the same failure is logged again
MOST = 16  # failures that are remembered


class OutageLog:
    """Of one instance. Times are seconds of any one clock."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._logged: dict[str, tuple[float, int]] = {}  # when, and how often it came since without being logged
        self._began: float | None = None  # of an outage that was logged
        self._is_new = True

    def failed(self, now: float, why: str, then: str) -> None:
        """It failed for this reason, and that is done about it."""
        # By its words: the same failure once in ten minutes, another one at once.
        at, unlogged = self._logged.get(why, (None, 0))
        if at is not None and now - at < AGAIN_SEC:
            self._logged[why] = (at, unlogged + 1)
            return
        self._logged.pop(why, None)
        self._logged[why] = (now, 0)
        # Texts may hold what changes each time, such as a port: without a bound this would grow.
        if len(self._logged) > MOST:
            del self._logged[next(iter(self._logged))]
        if self._began is None:
            self._began = now
        before = f" ({unlogged} times more since this was told last)" if unlogged else ""
        logger.warning("%s: %s; %s%s", self.name, why, then, before)

    def recovered(self, now: float, state: str) -> None:
        """It is well again, or lacks a login only; logged the first time, and after a failure that was."""
        new, self._is_new = self._is_new, False
        if new and self._began is None:
            logger.info("%s is %s", self.name, state)
        elif self._began is not None:
            logger.info("%s is %s after %.1f s", self.name, state, now - self._began)
            self._began = None
