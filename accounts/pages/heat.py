"""Turns by weekday and hour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from django.utils.dates import WEEKDAYS

from accounts.reports.sums import Sums
from accounts.reports.words import short

LEVELS: Final = 9


@dataclass(frozen=True, kw_only=True)
class Cell:
    """`level` is from 0 to LEVELS, by the share of the busiest hour."""

    turns: str
    level: int


@dataclass(frozen=True, kw_only=True)
class Day:
    name: str
    cells: list[Cell]


def heat(by_hour: Mapping[datetime, Sums], zone: tzinfo) -> list[Day]:
    """From Monday on, in the reader's zone; an hour (UTC) counts for the hour in which it begins there."""
    turns = [[0] * 24 for _ in range(7)]
    for hour, sums in by_hour.items():
        at = hour.astimezone(zone)
        turns[at.weekday()][at.hour] += sums.turns
    most = max(max(row) for row in turns) or 1
    return [
        Day(
            name=str(WEEKDAYS[weekday]),
            cells=[Cell(turns=short(count) if count else "", level=-(-LEVELS * count // most)) for count in row],
        )
        for weekday, row in enumerate(turns)
    ]
