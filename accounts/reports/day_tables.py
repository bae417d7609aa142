"""The groups of one grouping over many days: of rows where they must be read, else of sums that are stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np

from accounts.ledger.day_column import Column
from accounts.ledger.day_sums import (
    BY_CALLER,
    BY_FIRST_TOKEN,
    BY_HOUR,
    BY_KIND,
    BY_QUEUE,
    QUARTER,
    SUMS,
    Columns,
)
from accounts.ledger.days import QUARTER as QUARTER_OF_HOUR
from accounts.reports.columns import OF_END, Asked, Day, Grouped, Grouping, Numbers
from accounts.reports.filters import Filters
from accounts.reports.kept_days import JOINED, Stored
from accounts.reports.period import DAY, HOUR
from accounts.reports.sums import Sums
from accounts.reports.visibility import Visibility

MOST_WAITING: Final = 1 << 18
"""Sums of single days until they are added up: at once, for each step costs as much as hundreds of them."""


class Table:
    """Add days to it, then `add_up`; `found` are those that are in its sums."""

    def __init__(self, filters: Filters, visibility: Visibility, grouping: Grouping, *, rows: bool) -> None:
        self.grouping = grouping
        self._rows = rows
        group_by, histograms = grouping
        self._asked = Asked(filters, visibility, [grouping])
        self.sums = () if filters.splits_days(group_by) else _sums_for(self._asked, histograms=histograms)
        """Names of stored sums that have all that is asked for; without any, rows are read."""
        self.found: list[datetime] = []
        self._grouped = Grouped(group_by, histograms=histograms)
        self._waiting: dict[str, list[tuple[datetime, Columns]]] = {name: [] for name in self.sums}
        self._size = 0

    def reads_rows(self, *, is_cut: bool) -> bool:
        """Of days that are cut, and of whole ones where no sums are what is asked for."""
        return self._rows and (is_cut or not self.sums)

    def add_rows(self, at: datetime, rows: Day) -> None:
        """Those of a day that is cut."""
        if self._rows and rows.is_known():
            self.found.append(at)
            self._grouped.add(rows)

    def add_gathered(self, rows: Day) -> None:
        self._grouped.add(rows)

    def add_sums(self, at: datetime, stored: Stored) -> None:
        """Those of a day, unless it was made when there were none, or what is asked for is among its rare values."""
        if not self.sums or not stored.keys() >= {*self.sums}:
            return
        parts = [stored[name] for name in self.sums]
        if not Day(at, parts[0], self._asked).is_known():
            return
        self.found.append(at)
        for name, part in zip(self.sums, parts, strict=True):
            self._waiting[name].append((at, part))
            self._size += len(part["rows"].numbers)
        if self._size > MOST_WAITING:
            self.add_up()

    def more_than(self, most: int) -> bool:
        """Whether it has more groups, those aside that wait until `add_up`."""
        return self._grouped.more_than(most)

    def groups(self) -> dict[tuple[Any, ...], Sums]:
        return self._grouped.sums()

    def add_up(self) -> None:
        for name, parts in self._waiting.items():
            if parts:
                # Which day is of no account any more: `_joined` has made times of the quarters.
                self._grouped.add(Day(parts[0][0], _joined_sums(name, parts), self._asked))
                parts.clear()
        self._size = 0


class Gathered:
    """Rows of whole days that the filters leave, until they are added to all tables that read rows, with `add_up`.

    At once, too: for each day alone, numpy would take longer to be called than to add.
    """

    def __init__(self, asked: Asked, tables: Sequence[Table]) -> None:
        self.asked = asked
        self._tables = tables
        self._waiting: list[tuple[datetime, Columns]] = []
        self._size = 0

    def add(self, rows: Day) -> None:
        """Those of a day, unless what is asked for is among its rare values."""
        if not rows.is_known():
            return
        for table in self._tables:
            table.found.append(rows.at)
        if len(rows):
            self._waiting.append((rows.at, rows.left()))
            self._size += len(rows)
        if self._size > MOST_WAITING:
            self.add_up()

    def add_up(self) -> None:
        if self._waiting:
            joined = _joined(self._waiting, QUARTER_OF_HOUR)
            rows = Day(self._waiting[0][0], joined, self.asked.all_rows())
            for table in self._tables:
                table.add_gathered(rows)
        self._waiting, self._size = [], 0


def _sums_for(asked: Asked, *, histograms: bool) -> tuple[str, ...]:
    columns = asked.grouped.union(column for column, *_ in asked.conditions).difference(OF_END)
    if histograms:
        return (BY_HOUR, BY_FIRST_TOKEN, BY_QUEUE) if columns <= {*SUMS[BY_HOUR]} else ()
    return next(((name,) for name in (BY_HOUR, BY_CALLER, BY_KIND) if columns <= {*SUMS[name]}), ())


def _joined_sums(name: str, parts: Sequence[tuple[datetime, Columns]]) -> Columns:
    """As it was made for an earlier page over the same days, where it was."""
    if (joined := JOINED.get(name, parts)) is None:
        joined = _joined(parts, HOUR)
        JOINED.put(name, parts, joined)
    return joined


def _joined(parts: Sequence[tuple[datetime, Columns]], unit: timedelta) -> Columns:
    """The same columns of several days as one; the quarters become times, as exact as the unit."""
    return {name: _one(name, [(at, columns[name]) for at, columns in parts], unit) for name in parts[0][1]}


def _one(name: str, columns: Sequence[tuple[datetime, Column]], unit: timedelta) -> Column:
    values: list[Any] | None = None
    if name == QUARTER:
        a_day, quarters = DAY // unit, unit // QUARTER_OF_HOUR
        values = [at + number * unit for at, _ in columns for number in range(a_day)]
        found = [_numbers(each).astype(np.int32) // quarters + a_day * day for day, (_, each) in enumerate(columns)]
    elif all(column.values is None for _, column in columns):
        found = [_numbers(column) for _, column in columns]
    else:
        values, found = _renumbered([column for _, column in columns])
    numbers = np.concatenate(found)
    # What is counted with must have fewer than 8 bytes, or it would become floating point; sums may need them.
    most = int(numbers.max(initial=0))
    size = next(size for size in (1, 2, 4, 8) if most < 1 << 8 * size)
    return Column(size, numbers.astype(f"<u{size}").tobytes(), values)


def _numbers(column: Column) -> Numbers:
    return np.frombuffer(column.numbers, dtype=f"<u{column.size}")


def _renumbered(columns: Sequence[Column]) -> tuple[list[Any], list[Numbers]]:
    """All values, and the numbers of each day as places of these. What is rare stays behind them all."""
    places: dict[Any, int] = {}
    found = []
    for column in columns:
        values = column.values or []
        # Of one column all values are of one kind.
        # An end has four parts, and msgpack knows lists alone.
        hashable = map(tuple, values) if values and isinstance(values[0], list) else values
        new = [places.setdefault(each, len(places)) for each in hashable]
        # The number behind all values is that of rare ones.
        found.append(np.array([*new, -1], dtype=np.int32)[_numbers(column)])
    if all(column.whole for column in columns):
        return list(places), found
    return list(places), [np.where(each < 0, len(places), each) for each in found]
