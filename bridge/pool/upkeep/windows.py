"""Maintenance windows: planned times in which instances take no turns. Computed from a time that is passed in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from bridge.status.wanted import Maintenance, Mode

WEEK_SEC: Final = 7 * 86_400


class Window(msgspec.Struct, frozen=True):
    """One that somebody has planned. Times are Unix seconds, of the first one where it comes each week."""

    id: int
    name: str
    mode: Mode
    begins_at: float
    ends_at: float
    weekly: bool = False
    """At the same times of day by the clock of `zone`, summer or winter."""
    zone: str = "UTC"
    instances: tuple[str, ...] = ()
    """Names; empty: all."""

    def is_about(self, instance: str) -> bool:
        return not self.instances or instance in self.instances


class Occurrence(NamedTuple):
    """One time that a window is open."""

    window: Window
    begins_at: float
    ends_at: float


def occurrence(window: Window, now: float) -> Occurrence | None:
    """The one that is open, else the next; None: there is none any more."""
    if not window.weekly:
        return Occurrence(window, window.begins_at, window.ends_at) if window.ends_at > now else None
    zone = _zone(window.zone)
    begins, ends = (datetime.fromtimestamp(each, zone) for each in (window.begins_at, window.ends_at))
    passed = max(0, math.floor((now - window.begins_at) / WEEK_SEC) - 1)
    for week in range(passed, passed + 5):
        # By the clock on the wall: aware times of one zone are added to without regard to summer time.
        found = [(each + timedelta(weeks=week)).timestamp() for each in (begins, ends)]
        # One that lies in the hour that a spring leaves out is empty.
        if found[1] > max(now, found[0]):
            return Occurrence(window, *found)
    return None


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    """Where a machine knows fewer zones than the one that it was planned on, its hours do not follow the summer."""
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        return ZoneInfo("UTC")


def open_at(windows: Iterable[Window], now: float) -> list[Occurrence]:
    """Those that are open then."""
    found = (occurrence(window, now) for window in windows)
    return [each for each in found if each is not None and each.begins_at <= now]


def next_change(windows: Iterable[Window], now: float) -> float:
    """The time (Unix seconds) at which the next one opens or closes; infinity: none does."""
    found = (occurrence(window, now) for window in windows)
    times = (each.begins_at if each.begins_at > now else each.ends_at for each in found if each is not None)
    return min(times, default=math.inf)


def maintenance_of(instance: str, open_: Sequence[Occurrence]) -> Maintenance | None:
    """The open windows of an instance in one: the strictest mode, until the last of them closes; None without any."""
    mine = [each for each in open_ if each.window.is_about(instance)]
    if not mine:
        return None
    modes = {each.window.mode for each in mine}
    last = max(mine, key=lambda each: each.ends_at)
    return Maintenance(last.window.name, Mode.STOP if Mode.STOP in modes else Mode.DRAIN, last.ends_at)
