"""Questions that ended here without the service's word: it may still be at work on them."""

from __future__ import annotations

import time
from collections.abc import Collection

import msgspec

AT_WORK_SEC = 30.0
"""Seconds for which a service may go on with a question after `chat/stop` was sent (PROTOCOL 9.7)."""
MOST = 1024


class _Left(msgspec.Struct, gc=False):
    at: float
    has_begun: bool


class Abandoned:
    """Of one run of a service: those that were stopped, those that timed out, those whose connection was lost."""

    def __init__(self) -> None:
        self.running: Collection[str] = ()
        """Request ids of the turns that are still under way here."""
        self._left: dict[str, _Left] = {}  # the last one last
        self._dropped_at = float("-inf")

    def add(self, request_id: str, *, has_begun: bool = False) -> None:
        """The question ended here now. `has_begun`: part of its reply had arrived."""
        # Out and in again, so that the dict stays in the order of time.
        self._left.pop(request_id, None)
        self._left[request_id] = _Left(time.monotonic(), has_begun)
        if len(self._left) > MOST:
            oldest = next(iter(self._left))
            # The time of what is forgotten is kept: `only` must not take the rest for all there was.
            self._dropped_at = self._left.pop(oldest).at

    def replied(self, request_id: str) -> None:
        """Part of its reply arrived after it was left."""
        if (left := self._left.get(request_id)) is not None:
            left.has_begun = True

    def ended(self, request_id: str) -> None:
        """The service reported its end: it is not at work on this one any more."""
        self._left.pop(request_id, None)

    def only(self) -> tuple[str, bool]:
        """The one question that the service was at work on when the last of them ended here, and whether it had begun
        to answer; an empty id for none, and for several.
        """
        # While turns still run here, or none was left behind, no single question can be blamed.
        if self.running or not self._left:
            return "", False
        last, *before = list(reversed(self._left.items()))[:2]
        request_id, left = last
        # Only the last but one matters: the dict is in the order of time, so all others ended earlier still.
        others_until = max([self._dropped_at, *(each.at for _, each in before)])
        return ("", False) if others_until > left.at - AT_WORK_SEC else (request_id, left.has_begun)
