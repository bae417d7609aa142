"""Clocks: those of Redis, of the database and of the machines with instances, against our own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from django.db import connection
from django.utils.translation import gettext

from bridge.doctor.finding import Finding, fail, ok, warn
from bridge.doctor.installation_state import InstallationState

TOPIC: Final = "clocks"
NOTICED_SEC, HARMFUL_SEC = 2.0, 30.0
"""Limits by the minute, leases and codes of second factors go wrong by as much."""


def clocks(state: InstallationState) -> Iterator[Finding]:
    """One line for each clock that others go by. A file has no clock, so SQLite has none."""
    if state.redis_answers:
        yield _compared(gettext("Redis"), ahead(lambda: _of_redis(state)))
    if state.database_answers and connection.vendor == "postgresql":
        yield _compared(gettext("the database"), ahead(_of_database))
    # A heartbeat is some seconds old, so only one from the future tells of a clock.
    heard_at = state.heard_at or state.now
    future = [each for each in state.heartbeats if each.at - heard_at > NOTICED_SEC]
    for each in sorted(future, key=lambda status: status.name):
        yield _compared(each.name, each.at - heard_at)


def ahead(read: Callable[[], float]) -> float:
    """By how many seconds another clock is ahead of ours, give or take half of what the question took."""
    before = time.time()
    there = read()
    return there - (before + time.time()) / 2


def _of_redis(state: InstallationState) -> float:
    answer: Any = state.redis.time()
    seconds, microseconds = answer
    return float(seconds) + float(microseconds) / 1e6


def _of_database() -> float:
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
        return float(cursor.fetchone()[0])


def _compared(whose: str, seconds: float) -> Finding:
    facts = {"whose": whose, "seconds": f"{abs(seconds):.1f}"}
    if abs(seconds) <= NOTICED_SEC:
        return ok(TOPIC, gettext("%(whose)s: the same time as here") % facts)
    words = gettext("%(whose)s is %(seconds)s s ahead") if seconds > 0 else gettext("%(whose)s is %(seconds)s s behind")
    level = fail if abs(seconds) > HARMFUL_SEC else warn
    return level(TOPIC, words % facts, gettext("Have every machine set its clock by NTP."))
