"""Sums of rows that lie in columns: which rows the filters leave, and what each group of them adds up to."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # or it starts one for each core, and nothing here asks for any
import numpy as np
from numpy.typing import NDArray

from accounts.ledger.days import AT, END, NO_BUCKET, QUARTER, Column
from accounts.ledger.totals import counts_of
from accounts.reports.filters import COLUMNS, Filters
from accounts.reports.period import DAY, HOUR, Span
from accounts.reports.sums import BUCKETS, COUNTS, HISTOGRAMS, Sums
from accounts.reports.visibility import Visibility

Numbers = NDArray[Any]
Group = tuple[Any, ...]

SUMMED: Final = {name: COUNTS.index(name) for name in ("prompt_tokens", "completion_tokens", "busy_ms")}
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
    """What is to be found in columns, and the names of these."""

    def __init__(self, filters: Filters, visibility: Visibility, group_by: Sequence[str], histograms: bool) -> None:
        self.conditions: list[tuple[str, frozenset[Any]]] = list(filters.accepted.items())
        if not visibility.everything:
            self.conditions.append(("team_id", visibility.teams))
        self.outcome = OUTCOMES.get(filters.outcome)
        self.group_by, self.zone = group_by, filters.zone
        self.grouped = tuple(COLUMNS.get(name, "quarter") for name in group_by)
        self.histograms = HISTOGRAMS if histograms else ()
        conditions = [column for column, _ in self.conditions]
        self.names = sorted({*conditions, *self.grouped, END, "count", *SUMMED, *self.histograms})


class Day:
    """The columns of a day, of which the span takes in a part or all."""

    def __init__(self, day: datetime, columns: Mapping[str, Column], span: Span) -> None:
        self.day, self.columns, self._span = day, columns, span

    def knows(self, asked: Asked) -> bool:
        """False if what is asked for may be among the rare values of a column."""
        return all(
            self.columns[name].whole or wanted <= set(self.columns[name].values or ())
            for name, wanted in asked.conditions
        ) and all(self.columns[name].whole for name in asked.grouped)

    def numbers(self, name: str) -> Numbers:
        column = self.columns[name]
        return np.frombuffer(column.numbers, dtype=f"<u{column.size}")

    def values(self, name: str) -> list[Any]:
        return self.columns[name].values or []

    def picked(self, asked: Asked) -> Numbers:
        """The places of the rows that the filters leave."""
        left = np.ones(len(self.numbers(END)), dtype=bool)
        for name, wanted in asked.conditions:
            # One more: the place of rare values.
            left &= np.array([value in wanted for value in [*self.values(name), _Rare]])[self.numbers(name)]
        if asked.outcome is not None:
            left &= self.counts()[self.numbers(END), asked.outcome] > 0
        if AT in self.columns:
            for at, takes in zip(self._span, (np.greater_equal, np.less), strict=True):
                if at is not None:
                    microseconds = (at - self.day) // DAY.resolution
                    left &= takes(self.numbers(AT).astype(np.int64), microseconds)
        return np.flatnonzero(left)

    def counts(self) -> Numbers:
        """What one turn of each end adds to COUNTS."""
        ends = [counts_of(status, reason, source, 1, 0, 0, 0, 0) for status, reason, source, _ in self.values(END)]
        return np.array(ends, dtype=np.int64).reshape(-1, len(COUNTS))

    def by(self, name: str, asked: Asked) -> tuple[list[Any], Numbers]:
        """The values that a group can have, and which of them each row has."""
        if name in COLUMNS:
            return self.values(COLUMNS[name]), self.numbers(COLUMNS[name])
        times = [self.day + QUARTER * number for number in range(QUARTERS)]
        if name == "hour":
            named: list[Any] = [at - (at - self.day) % HOUR for at in times]
        else:
            named = [at.astimezone(asked.zone).date() for at in times]
        values = list(dict.fromkeys(named))
        return values, np.array([values.index(each) for each in named])[self.numbers("quarter")]


class _Rare:
    """No value of any column."""


class Grouped:
    """Sums by group, of one day after the other."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._width = len(COUNTS) + BUCKETS * len(asked.histograms)
        self._known: list[dict[Any, int]] = [{} for _ in asked.group_by]
        """Values of each name, numbered as they come."""
        self._groups = [np.zeros(0, dtype=np.int64)]
        self._sums = [np.zeros((0, self._width), dtype=np.int64)]

    def more_than(self, most: int) -> bool:
        if sum(map(len, self._groups)) > most:
            self._add_up()
        return sum(map(len, self._groups)) > most

    def add(self, day: Day) -> None:
        rows = day.picked(self._asked)
        if not len(rows):
            return
        groups, places = self._grouped(day, rows)
        self._groups.append(groups)
        self._sums.append(_sums(day, rows, places, len(groups), self._asked.histograms, self._width))
        if sum(map(len, self._groups)) > PENDING:
            self._add_up()

    def _grouped(self, day: Day, rows: Numbers) -> tuple[Numbers, Numbers]:
        """The groups of these rows, and the place of each row's group among them."""
        by = [day.by(name, self._asked) for name in self._asked.group_by]
        codes, possible = np.zeros(len(rows), dtype=np.int64), 1
        for values, numbers in by:
            codes = codes * len(values) + numbers[rows]
            possible *= len(values)
        found, places = _distinct(codes, possible)
        groups = np.zeros(len(found), dtype=np.int64)
        for place in reversed(range(len(by))):
            found, codes = np.divmod(found, len(by[place][0]))
            known = self._known[place]
            numbered = np.array([known.setdefault(value, len(known)) for value in by[place][0]], dtype=np.int64)
            groups |= numbered[codes] << BITS * place
        return groups, places

    def _add_up(self) -> None:
        groups, sums = np.concatenate(self._groups), np.concatenate(self._sums)
        order = np.argsort(groups, kind="stable")
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
        named: Any = dict(zip(COUNTS, counts, strict=False))  # the histograms, if any, follow
        sums = Sums(**named)
        if self._asked.histograms:
            sums.first_token, sums.queue = counts[-2 * BUCKETS : -BUCKETS], counts[-BUCKETS:]
        return sums


def _sums(day: Day, rows: Numbers, places: Numbers, count: int, histograms: Sequence[str], width: int) -> Numbers:
    """Of each of so many groups, the sums of its rows in the order of COUNTS, and its histograms."""
    sums = np.zeros((count, width), dtype=np.int64)
    sums[:, : len(COUNTS)] = _turns(day, rows, places)
    for name, column in SUMMED.items():
        # Floating point is exact up to 2 ** 53.
        sums[:, column] = np.bincount(places, day.numbers(name)[rows], count)
    for number, name in enumerate(histograms):
        at, buckets = len(COUNTS) + BUCKETS * number, NO_BUCKET + 1
        counted = np.bincount(places * buckets + day.numbers(name)[rows], minlength=count * buckets)
        sums[:, at : at + BUCKETS] = counted.reshape(count, buckets)[:, :BUCKETS]
    return sums


def _turns(day: Day, rows: Numbers, places: Numbers) -> Numbers:
    """What is counted in turns. Rows of one group with the same end are counted, and then that."""
    ends = day.values(END)
    cells, of_row = _distinct(places * len(ends) + day.numbers(END)[rows], (int(places.max()) + 1) * len(ends))
    group, end = np.divmod(cells, len(ends))
    counted = day.counts()[end] * np.bincount(of_row, day.numbers("count")[rows]).astype(np.int64)[:, None]
    # A reused session is of a row, whatever number of turns that stands for.
    counted[:, REUSED] = np.array([reused for *_, reused in ends])[end] * np.bincount(of_row)
    return np.add.reduceat(counted, np.flatnonzero(np.diff(group, prepend=-1)), axis=0)


def _distinct(codes: Numbers, possible: int) -> tuple[Numbers, Numbers]:
    """The codes that there are, in their order, and the place of each one among them."""
    if possible > SPARSE + 4 * len(codes):
        found, places = np.unique(codes, return_inverse=True)
        return found, places
    found = np.flatnonzero(np.bincount(codes, minlength=possible))
    place_of = np.zeros(possible, dtype=np.int64)
    place_of[found] = np.arange(len(found))
    return found, place_of[codes]
