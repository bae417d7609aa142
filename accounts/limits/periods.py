"""Days, weeks and months of a time zone, as budgets count them. Pure: the time is an argument."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

PERIODS: Final = ("day", "week", "month")


class Periods(NamedTuple):
    """When the day, the week and the month begin and end, in unix seconds. Weeks begin on Monday."""

    starts: tuple[int, int, int]
    ends: tuple[int, int, int]


def periods_at(at: float, time_zone: str) -> Periods:
    """The periods that hold the moment `at`."""
    return _periods(datetime.fromtimestamp(at, ZoneInfo(time_zone)).date(), time_zone)


@lru_cache(256)
def _periods(day: date, time_zone: str) -> Periods:
    monday, first = day - timedelta(day.weekday()), day.replace(day=1)
    # 31 days after a first is always in the next month.
    next_month = (first + timedelta(31)).replace(day=1)
    starts = (day, monday, first)
    ends = (day + timedelta(1), monday + timedelta(7), next_month)
    return Periods(_midnights(starts, time_zone), _midnights(ends, time_zone))


def _midnights(days: tuple[date, date, date], time_zone: str) -> tuple[int, int, int]:
    # A midnight that a change of clocks skips is taken as the moment of the change.
    first, second, third = (int(datetime.combine(day, time(), ZoneInfo(time_zone)).timestamp()) for day in days)
    return first, second, third
