"""Turns by weekday and hour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.utils.dates import WEEKDAYS
from django.utils.safestring import SafeString

from accounts.pages.markup import linked
from accounts.pages.query import Query
from accounts.pages.timeline import rows_of
from accounts.reports.filters import HOURS, WEEKLY
from accounts.reports.sums import Sums
from accounts.reports.words import short

LEVELS: Final = 9
NAMES: Final = {place: name for name, place in HOURS.items()}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """`level` is from 0 to LEVELS, by the share of the busiest hour."""

    turns: str
    level: int
    href: str

    def __str__(self) -> SafeString:
        """As a template shows it."""
        return linked(self.turns, self.href)


@dataclass(frozen=True, kw_only=True)
class Day:
    name: str
    cells: list[Cell]


def heat(query: Query, by_hour: Mapping[datetime, Sums]) -> list[Day]:
    """From Monday on, in the reader's zone; an hour (UTC) counts for the hour in which it begins there."""
    hours: dict[tuple[int, int], list[datetime]] = {}
    for hour, sums in by_hour.items():
        at = hour.astimezone(query.filters.zone)
        if sums.turns:
            hours.setdefault((at.weekday(), at.hour), []).append(hour)
    turns = {place: sum(by_hour[hour].turns for hour in found) for place, found in hours.items()}
    most = max(turns.values(), default=1)
    return [
        Day(
            name=str(WEEKDAYS[weekday]),
            cells=[
                _cell(query, (weekday, hour), turns.get((weekday, hour), 0), most, hours.get((weekday, hour), ()))
                for hour in range(24)
            ],
        )
        for weekday in range(7)
    ]


def _cell(query: Query, place: tuple[int, int], turns: int, most: int, hours: Sequence[datetime]) -> Cell:
    return Cell(
        # Rounded up, so that a single turn beside thousands is still seen.
        turns=short(turns) if turns else "", level=-(-LEVELS * turns // most), href=_href(query, place, sorted(hours))
    )  # fmt: skip


def _href(query: Query, place: tuple[int, int], hours: Sequence[datetime]) -> str:
    if not hours:
        return ""
    # The times alone say a single hour; of several weeks they would take in all that lies between.
    weekly = {} if len(hours) == 1 else {WEEKLY: NAMES[place]}
    return rows_of(query, hours[0], hours[-1] + timedelta(hours=1), **weekly)
