"""The state of the database as this process has met it, and deadlines for queries.

Who reads or writes reports the result. While the database is away nobody waits for it: one try a second finds out
when it is back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.db import Error, InterfaceError, InternalError, OperationalError

from gateway_project.lib import degraded, disk

RETRY_SEC = 1.0

AWAY: Final = (OperationalError, InterfaceError, InternalError)
"""What the database raises when the fault is its own: it is gone, full, locked, read-only or too slow."""


NO_ROOM: Final = ("database or disk is full", "disk I/O error")
"""Messages of SQLite when the disk with its file takes nothing more."""


class _State:
    """Of this process. No lock: each change is one assignment."""

    away = False
    doubted = False
    try_at = 0.0


class _Deadline(threading.local):
    """Per thread. `until` is on the monotonic clock."""

    until: float | None = None
    ahead = False


_state = _State()
_deadline = _Deadline()


def failed(exc: Error | str) -> None:
    """Report a query that the database failed: it counts as away, and the next try comes after RETRY_SEC."""
    _state.away, _state.doubted, _state.try_at = True, False, time.monotonic() + RETRY_SEC
    # On one line, and never empty: it stands in the log line of the mode.
    words = " ".join(str(exc).split()) or type(exc).__name__
    # A full disk is its own mode, with its own advice; "database" beside it would send the operator to the wrong place.
    if any(each in words for each in NO_ROOM):
        disk.fails("database", OSError(words))
    else:
        degraded.begin("database", words)


def works() -> None:
    """Report a query that came to its end: the database is not away."""
    _state.doubted = False
    if _state.away:
        _state.away = False
        degraded.end("database")
        disk.works("database")


def doubt() -> None:
    """Report something that may be the database's fault: the next regular check finds out."""
    _state.doubted = True


def in_doubt() -> bool:
    """Whether the database should be checked before the regular time."""
    return _state.away or _state.doubted


def away() -> bool:
    """Whether the last query failed."""
    return _state.away


def may_try() -> bool:
    """Whether it is time to see if the database is back. Only one caller in RETRY_SEC gets True."""
    now = time.monotonic()
    if now < _state.try_at:
        return False
    # Before the try, not after it: a try may take its whole deadline, and others must not join it.
    _state.try_at = now + RETRY_SEC
    return True


@contextmanager
def doing_without() -> Iterator[None]:
    """For work that may be left out while the database is away: the failure is noted, and nothing is raised."""
    try:
        yield
    except AWAY as exc:
        failed(exc)
    else:
        works()


@contextmanager
def within(seconds: float, *, ahead: bool = False) -> Iterator[None]:
    """Bound what this thread may wait for the database until the end of the block, all queries together.

    `ahead` takes a connection although those of the process are all in use: for threads on which many callers wait.
    """
    # Kept and put back, so that blocks may be nested. The inner deadline counts, even when it is later.
    before = _deadline.until, _deadline.ahead
    _deadline.until, _deadline.ahead = time.monotonic() + seconds, ahead
    try:
        yield
    finally:
        _deadline.until, _deadline.ahead = before


def seconds_left(most: float) -> float:
    """How long this thread may wait now, `most` seconds without a bound of its own."""
    until = _deadline.until
    return most if until is None else max(0.0, min(most, until - time.monotonic()))


def goes_ahead() -> bool:
    """Whether this thread may have a connection beyond those of the process."""
    return _deadline.ahead
