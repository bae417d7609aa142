"""What a service's log says of its own renewals, held against the end of the login: only a later end is a success."""

from __future__ import annotations

import math
from typing import Final

from bridge.lingma.process.log_tail import LogTail
from bridge.status.attempts import AttemptResult

JUDGED_AFTER_SEC: Final = 10.0
"""From the line to the verdict: by then the account was read, and the new end is known."""
LATER_SEC: Final = 1.0
"""Ends are compared as services tell them."""


class Renewals:
    """`look` now and then. Times are of the monotonic clock, ends are Unix seconds."""

    def __init__(self) -> None:
        self._log: LogTail | None = None
        self._claimed = self._failed = 0
        self._claimed_at = -math.inf
        self._end = 0.0
        self._end_rose_at = -math.inf

    def look(self, log: LogTail | None, end: float, now: float) -> AttemptResult | None:
        """The result of a renewal that has failed since the last look; None: none has, or it went well."""
        self._watch_end(end, now)
        if log is None:
            return None
        log.look()
        if log is not self._log:
            self._log, self._claimed, self._failed = log, 0, 0  # of another run
        if log.renewed > self._claimed:
            self._claimed, self._claimed_at = log.renewed, now
        if log.not_renewed > self._failed:
            self._failed = log.not_renewed
            return AttemptResult.NOT_RENEWED
        return self._judge(now)

    @property
    def is_claimed(self) -> bool:
        """The log has said that there is a new end, and it was not looked for yet."""
        return self._claimed_at > -math.inf

    def _watch_end(self, end: float, now: float) -> None:
        if end > self._end + LATER_SEC and self._end:
            self._end_rose_at = now
        self._end = end

    def _judge(self, now: float) -> AttemptResult | None:
        if now - self._claimed_at < JUDGED_AFTER_SEC or not self.is_claimed:
            return None
        # The account tells of the new end a moment before the line is read, or after it.
        is_later = self._end_rose_at >= self._claimed_at - JUDGED_AFTER_SEC
        self._claimed_at = -math.inf
        return None if is_later else AttemptResult.NOT_LATER
