"""What the log says of an instance's troubles: each once on the way in, then counted; and once that it is well."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)

AGAIN_SEC = 600.0  # before the same trouble is told again
MOST = 16  # troubles that are remembered


class Troubles:
    """Of one instance. Times are seconds of any one clock."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._told: dict[str, tuple[float, int]] = {}  # when, and how often it came since without being told
        self._began: float | None = None  # of an outage that was told
        self._is_new = True

    def met(self, now: float, why: str, then: str) -> None:
        """It has this trouble, and that is done about it."""
        at, untold = self._told.get(why, (None, 0))
        if at is not None and now - at < AGAIN_SEC:
            self._told[why] = (at, untold + 1)
            return
        self._told.pop(why, None)
        self._told[why] = (now, 0)
        if len(self._told) > MOST:
            del self._told[next(iter(self._told))]
        if self._began is None:
            self._began = now
        before = f" ({untold} times more since this was told last)" if untold else ""
        logger.warning("%s: %s; %s%s", self._name, why, then, before)

    def over(self, now: float, state: str) -> None:
        """It is well again, or lacks a login only; told at first, and when the trouble was."""
        new, self._is_new = self._is_new, False
        if new and self._began is None:
            logger.info("%s is %s", self._name, state)
        elif self._began is not None:
            logger.info("%s is %s after %.1f s", self._name, state, now - self._began)
            self._began = None
