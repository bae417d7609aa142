"""Logs repeated records once and then their count: which records are written, and the lines for the rest."""

from __future__ import annotations

import copy
import logging
from typing import Final

FIRST: Final = 10
"""Records of a kind that are written before the rest are counted."""
FIRST_OF_INFO: Final = 100
PAUSE_SEC: Final = 10.0
"""How long the rest are counted before their number is logged; twice as long each time."""
LONGEST_PAUSE_SEC: Final = 80.0
MOST_KINDS: Final = 512
LONGEST: Final = 1000
"""Characters of a message that is logged with its count."""

NEVER: Final = frozenset({"bridge.turn"})
"""Loggers whose records are never counted instead."""

UNTEMPLATED: Final = "django.security."
"""Loggers without templates: their messages quote text from outside, such as an unknown host."""

Kind = tuple[str, int, str, str]


class Repeats:
    """Records are of one kind when they have logger, level and template in common, and what was raised where.

    Times are arguments, in seconds that never go back.
    """

    def __init__(self) -> None:
        self._seen: dict[Kind, _Kind] = {}
        self._forgotten: list[logging.LogRecord] = []
        self.due = float("inf")
        """When there may be something to log, on the clock of `now`; infinity for never."""

    def admits(self, record: logging.LogRecord, now: float) -> bool:
        """Whether to write the record. A trace is written with the first of its kind alone."""
        # Who logs DEBUG wants to see everything.
        if record.name in NEVER or record.levelno < logging.INFO:
            return True
        kind = _kind_of(record)
        seen = self._seen.get(kind)
        if seen is not None:
            record.exc_info = None
            return seen.admits(record)
        # The oldest kind goes, and its count is still logged: a flood of new kinds takes no more memory.
        if len(self._seen) >= MOST_KINDS:
            oldest = next(iter(self._seen))
            self._forgotten += self._seen.pop(oldest).rest(now)
        self._seen[kind] = _Kind(now)
        self.due = min(self.due, now + PAUSE_SEC)
        return True

    def due_counts(self, now: float) -> list[logging.LogRecord]:
        """Records with the counts that are due by now, of those that were not written."""
        counts, self._forgotten = self._forgotten, []
        if now < self.due:
            return counts
        for kind, seen in list(self._seen.items()):
            if seen.until <= now:
                if seen.is_over():
                    del self._seen[kind]
                counts += seen.rest(now)
        self.due = min((seen.until for seen in self._seen.values()), default=float("inf"))
        return counts

    def all_counts(self, now: float) -> list[logging.LogRecord]:
        """Every count that has not been logged yet: the log ends."""
        return [*self._forgotten, *(record for seen in self._seen.values() for record in seen.rest(now))]


class _Kind:
    """One kind of records, from its first to a pause without any."""

    def __init__(self, now: float) -> None:
        self.until = now + PAUSE_SEC
        self._since = now
        self._times = 1
        self._before = 0  # how many there had been when the pause began
        self._rest = 0
        self._last: logging.LogRecord | None = None

    def admits(self, record: logging.LogRecord) -> bool:
        self._times += 1
        if self._times <= (FIRST if record.levelno > logging.INFO else FIRST_OF_INFO):
            return True
        self._rest += 1
        self._last = record
        return False

    def is_over(self) -> bool:
        """Whether nothing of the kind came during the pause."""
        return self._times == self._before

    def rest(self, now: float) -> list[logging.LogRecord]:
        """The last record that was not written, with how many there were; the next pause begins."""
        last, count, seconds = self._last, self._rest, now - self._since
        # Longer each time: an outage of an hour is some dozens of lines, not hundreds.
        self.until = now + min(max(2 * seconds, PAUSE_SEC), LONGEST_PAUSE_SEC)
        self._since, self._before, self._rest, self._last = now, self._times, 0, None
        if last is None:
            return []
        # A copy: other handlers may still hold this record.
        record = copy.copy(last)
        times = "once" if count == 1 else f"{count:,} times"
        record.msg, record.args = f"{_message(last)} … repeated {times} in {seconds:.0f} s", None
        return [record]


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()[:LONGEST]
    except Exception:  # noqa: BLE001 - an edge: a template that does not fit its arguments
        return str(record.msg)[:LONGEST]


def _kind_of(record: logging.LogRecord) -> Kind:
    if record.name.startswith(UNTEMPLATED):
        return record.name, record.levelno, "", ""
    template = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
    return record.name, record.levelno, template[:200], _raised(record)


def _raised(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    kind, _, trace = record.exc_info
    # The last frame: the same error from two places is two kinds.
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else ""
    return f"{kind.__name__} {place}"
