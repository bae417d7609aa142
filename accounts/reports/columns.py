"""Sums of rows that lie in columns: which rows the filters leave, and what each group of them adds up to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from copy import copy
from datetime import datetime
from functools import cached_property
from typing import Any, Final

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # or it starts one for each core, and nothing here asks for any
import numpy as np
from numpy.typing import NDArray

from accounts.ledger.day_column import Column
from accounts.ledger.day_sums import END, ROWS, Columns
from accounts.ledger.days import AT, NO_BUCKET, QUARTER
from accounts.ledger.totals import counts_of
from accounts.reports.filters import COLUMNS, Filters
from accounts.reports.period import DAY, HOUR
from accounts.reports.sums import BUCKETS, COUNTS, HISTOGRAMS, Sums
from accounts.reports.visibility import Visibility

Numbers = NDArray[Any]
Group = tuple[Any, ...]
Grouping = tuple[Sequence[str], bool]

SUMMED: Final = {name: COUNTS.index(name) for name in ("prompt_tokens", "completion_tokens", "busy_ms")}
OF_END: Final = {"status": 0, "reason": 1, "usage_source": 2}
"""Columns whose values are part of an end, and their places in it."""
REUSED: Final = COUNTS.index("sessions_reused")
OUTCOMES: Final = {"failed": COUNTS.index("faults"), "turned_away": COUNTS.index("turned_away")}
QUARTERS: Final = DAY // QUARTER
BITS: Final = 21
"""Of a value's number within that of its group: three fit into 64, and two million values into each."""
SPARSE: Final = 1 << 16
"""Possible groups beyond this, and beyond four a row, are sorted instead of counted."""
PENDING: Final = 1 << 15
"""Groups of single days until they are added up."""


class Asked:
    """Which rows are asked for, and by which groups; and the names of the columns that are needed for that.

    Without any groups it is about the times of the rows.
    """

    def __init__(self, filters: Filters, visibility: Visibility, groupings: Sequence[Grouping]) -> None:
        self.conditions: list[tuple[str, frozenset[Any], bool]] = [
            *((column, values, True) for column, values in filters.accepted.items()),
            *((column, values, False) for column, values in filters.excluded.items()),
            *(() if visibility.everything else [("team_id", visibility.teams, True)]),
        ]
        """A column, values, and whether rows have one of these or none."""
        # What is in the column of ends is not read a second time, where that one is needed anyway.
        self.of_end = OF_END if groupings else {}
        self.outcome = OUTCOMES.get(filters.outcome)
        self.span, self.zone = filters.span, filters.zone
        self.grouped = {COLUMNS.get(name, "quarter") for group_by, _ in groupings for name in group_by}
        histograms = HISTOGRAMS if any(wanted for _, wanted in groupings) else ()
        summed = {*self.grouped, END, "count", *SUMMED, *histograms} if groupings else {AT}
        ends = {END} if self.outcome is not None else set()
        named = {*(column for column, *_ in self.conditions), *summed, *ends}
        self.names = sorted({END if name in self.of_end else name for name in named})

    def all_rows(self) -> Asked:
        """The same of rows that the filters have left."""
        found = copy(self)
        found.conditions, found.outcome = [], None
        return found


class Day:
    """The rows of a day that are asked for, or sums of them: then each has how many ROWS it is of."""

    def __init__(self, day: datetime, columns: Columns, asked: Asked) -> None:
        self.at, self._columns, self._asked = day, columns, asked
        self._taken: dict[str, Numbers] = {}

    def is_known(self) -> bool:
        """False if what is asked for may be among the rare values of a column."""
        return all(
            self._column(name).whole or values <= set(self.values(name)) for name, values, _ in self._asked.conditions
        ) and all(self._column(name).whole for name in self._asked.grouped)

    def _column(self, name: str) -> Column:
        return self._columns[END if name in self._asked.of_end else name]

    def values(self, name: str) -> list[Any]:
        """By the numbers of the column; the same value may have several."""
        values = self._column(name).values or []
        if name not in self._asked.of_end:
            return values
        place = OF_END[name]
        return [end[place] for end in values]

    def numbers(self, name: str) -> Numbers:
        """Of the rows that are asked for."""
        name = END if name in self._asked.of_end else name
        if name not in self._taken:
            every = self._all(name)
            # As they lie in the data, without a copy, where the filters leave all of them.
            self._taken[name] = every if len(self) == len(every) else every[self._rows]
        return self._taken[name]

    def has(self, name: str) -> bool:
        return name in self._columns

    @cached_property
    def rows(self) -> Numbers | None:
        """How many rows each is of; None where they are rows."""
        return self.numbers(ROWS) if ROWS in self._columns else None

    def _all(self, name: str) -> Numbers:
        column = self._column(name)
        return np.frombuffer(column.numbers, dtype=f"<u{column.size}")

    @cached_property
    def _rows(self) -> Numbers:
        """The places of the rows that the filters leave."""
        left = np.ones(len(self._all(next(iter(self._columns)))), dtype=bool)
        for name, values, having in self._asked.conditions:
            # From the number of a value to whether it counts: asked once for each value, and looked up for all rows at
            # once. One more: the place of rare values.
            left &= np.array([(value in values) is having for value in [*self.values(name), _Rare]])[self._all(name)]
        if self._asked.outcome is not None:
            left &= self.counts[self._all(END), self._asked.outcome] > 0
        if AT in self._columns:
            for at, takes in zip(self._asked.span, (np.greater_equal, np.less), strict=True):
                if at is not None:
                    # Signed, for the span may begin before the day.
                    left &= takes(self._all(AT).astype(np.int64), (at - self.at) // DAY.resolution)
        return np.flatnonzero(left)

    def __len__(self) -> int:
        return len(self._rows)

    def left(self) -> Columns:
        """The columns of the rows that are asked for."""
        return {name: self._column_left(name) for name in self._asked.names}

    def _column_left(self, name: str) -> Column:
        column = self._columns[name]
        if len(self) == len(self._all(name)):
            return column
        return Column(column.size, self.numbers(name).tobytes(), column.values, column.whole)

    def latest(self, most: int) -> list[datetime]:
        """When the last of the rows began, the latest first."""
        # Rows of a day lie in the order in which they began.
        return [self.at + DAY.resolution * at for at in reversed(self.numbers(AT)[-most:].tolist())]

    @cached_property
    def counts(self) -> Numbers:
        """What one turn of each end adds to COUNTS."""
        ends = [counts_of(status, reason, source, 1, 0, 0, 0, 0) for status, reason, source, _ in self.values(END)]
        return np.array(ends, dtype=np.int64).reshape(-1, len(COUNTS))

    @cached_property
    def reused(self) -> Numbers:
        """Of each end, whether its rows had a session that was reused."""
        return np.array([reused for *_, reused in self.values(END)], dtype=np.int64)

    def by(self, name: str) -> tuple[list[Any], Numbers]:
        """The values that a group can have, and which of them each row has."""
        if name in COLUMNS:
            return self.values(COLUMNS[name]), self.numbers(COLUMNS[name])
        # Sums of several days have the times themselves.
        times = self._columns["quarter"].values or [self.at + QUARTER * number for number in range(QUARTERS)]
        if name == "hour":
            named: list[Any] = [at - (at - self.at) % HOUR for at in times]
        else:
            named = [at.astimezone(self._asked.zone).date() for at in times]
        places: dict[Any, int] = {}
        of_quarter = np.array([places.setdefault(each, len(places)) for each in named], dtype=np.int64)
        return list(places), of_quarter[self.numbers("quarter")]


class _Rare:
    """No value of any column."""


class Grouped:
    """Sums by group, of one day after the other."""

    def __init__(self, group_by: Sequence[str], *, histograms: bool) -> None:
        self._group_by, self._histograms = group_by, HISTOGRAMS if histograms else ()
        self._known: list[dict[Any, int]] = [{} for _ in group_by]
        """Values of each name, numbered as they come."""
        width = len(COUNTS) + BUCKETS * len(self._histograms)
        self._groups, self._sums = [np.zeros(0, dtype=np.int64)], [np.zeros((0, width), dtype=np.int64)]

    def more_than(self, most: int) -> bool:
        """Whether there are more groups."""
        if sum(map(len, self._groups)) > most:
            self._add_up()
        return sum(map(len, self._groups)) > most

    def add(self, day: Day) -> None:
        if not len(day):
            return
        groups, places = self._grouped(day)
        self._groups.append(groups)
        self._sums.append(_sums(day, places, len(groups), self._histograms))
        if sum(map(len, self._groups)) > PENDING:
            self._add_up()

    def _grouped(self, day: Day) -> tuple[Numbers, Numbers]:
        """The groups of the rows, and the place of each row's group among them."""
        by = [day.by(name) for name in self._group_by]
        codes, possible = np.zeros(len(day), dtype=np.int64), 1
        for values, numbers in by:
            # The values' numbers as the digits of one: a group is one comparison then. No rare ones here, says
            # `is_known`.
            codes = codes * len(values) + numbers
            possible *= len(values)
        found, places = _distinct(codes, possible)
        groups = np.zeros(len(found), dtype=np.int64)
        for place in reversed(range(len(by))):
            # The last name has the lowest digit. From here on values have the numbers of all days, not those of this
            # one.
            found, codes = np.divmod(found, len(by[place][0]))
            known = self._known[place]
            numbered = np.array([known.setdefault(value, len(known)) for value in by[place][0]], dtype=np.int64)
            groups |= numbered[codes] << BITS * place
        return groups, places

    def _add_up(self) -> None:
        groups, sums = np.concatenate(self._groups), np.concatenate(self._sums)
        order = np.argsort(groups, kind="stable")
        # No group is negative, so the first one always begins something.
        first = np.flatnonzero(np.diff(groups[order], prepend=-1))
        self._groups, self._sums = [groups[order][first]], [np.add.reduceat(sums[order], first, axis=0)]

    def sums(self) -> dict[Group, Sums]:
        if sum(map(len, self._groups)):
            self._add_up()
        values, mask = [list(known) for known in self._known], (1 << BITS) - 1
        return {
            tuple([each[group >> BITS * place & mask] for place, each in enumerate(values)]): self._as_sums(counts)
            for group, counts in zip(self._groups[0].tolist(), self._sums[0].tolist(), strict=True)
        }

    def _as_sums(self, counts: list[int]) -> Sums:
        # In the order of its fields: pages have some thousand groups.
        fields: list[Any] = counts[: len(COUNTS)]
        if self._histograms:
            fields += [counts[-2 * BUCKETS : -BUCKETS], counts[-BUCKETS:]]
        return Sums(*fields)


def _sums(day: Day, places: Numbers, count: int, histograms: Sequence[str]) -> Numbers:
    """Of each of so many groups, the sums of its rows in the order of COUNTS, and its histograms; 0 for what the day
    has not.
    """
    sums = np.zeros((count, len(COUNTS) + BUCKETS * len(histograms)), dtype=np.int64)
    if day.has("count"):
        sums[:, : len(COUNTS)] = _turns(day, places, count)
        for name, column in SUMMED.items():
            # Floating point is exact up to 2 ** 53.
            sums[:, column] = np.bincount(places, day.numbers(name), count)
    for number, name in enumerate(histograms):
        if day.has(name):
            cells, first = places * (NO_BUCKET + 1) + day.numbers(name), len(COUNTS) + BUCKETS * number
            # Without `rows` each counts as one. The last column, of rows without a first token, is left out.
            counted = np.bincount(cells, day.rows, count * (NO_BUCKET + 1)).reshape(count, NO_BUCKET + 1)
            sums[:, first : first + BUCKETS] = counted[:, :BUCKETS]
    return sums


def _turns(day: Day, places: Numbers, groups: int) -> Numbers:
    """What is counted in turns: how often each group has each end, and what that counts for."""
    ends = len(day.values(END))
    if groups * ends > SPARSE + 4 * len(day):
        return _turns_of_many(day, places, groups)
    cells = places * ends + day.numbers(END)
    turns = np.bincount(cells, day.numbers("count"), groups * ends).reshape(groups, ends)
    rows = np.bincount(cells, day.rows, groups * ends).reshape(groups, ends)
    # Floating point is exact up to 2 ** 53, and much faster.
    counted: Numbers = (turns @ day.counts.astype(float)).astype(np.int64)
    # A reused session is of a row, whatever number of turns that stands for.
    counted[:, REUSED] = rows @ day.reused
    return counted


def _turns_of_many(day: Day, places: Numbers, groups: int) -> Numbers:
    """The same, without a table of groups and ends, which would be larger than the rows."""
    end, turns = day.numbers(END), day.numbers("count")
    counted = [np.bincount(places, counts[end] * turns, groups).astype(np.int64) for counts in day.counts.T]
    reused = day.reused[end] if day.rows is None else day.reused[end] * day.rows
    counted[REUSED] = np.bincount(places, reused, groups).astype(np.int64)
    return np.stack(counted, axis=1)


def _distinct(codes: Numbers, possible: int) -> tuple[Numbers, Numbers]:
    """The codes that there are, in their order, and the place of each one among them."""
    if possible > SPARSE + 4 * len(codes):
        found, places = np.unique(codes, return_inverse=True)
        return found, places
    found = np.flatnonzero(np.bincount(codes, minlength=possible))
    place_of = np.zeros(possible, dtype=np.int64)
    place_of[found] = np.arange(len(found))
    return found, place_of[codes]
