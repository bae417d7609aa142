"""What pages have read of finished days, in memory for the pages that follow."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from accounts.ledger.day_sums import Columns

MOST_BYTES: Final = 32 << 20
"""Of a process: what a page with filters reads of some million rows. None of it before the first such page."""
MOST_JOINED_BYTES: Final = 16 << 20
"""Of a process: sums of a million rows, over the two spans that are asked for most."""
OF_COLUMN, OF_VALUE = 200, 100
"""Bytes that Python needs for each column beside its numbers, and for each value of it."""

Stored = Mapping[str, Columns]
"""What is stored of a day: sums by their names, and each column by its own."""


class Making(NamedTuple):
    """Which making of a day it is. One never changes: with a row of that day it goes, and another is made later."""

    number: int
    mark: bytes
    """Random, as numbers come again: where a transaction was rolled back, or the database is another one."""


class KeptDays:
    """What is stored of days, unpacked. For threads.

    There is no time after which it goes: who asks has just read in the database which making is that of today.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._days: dict[datetime, tuple[Making, dict[str, Columns | None]]] = {}
        self._lock = threading.Lock()

    def get(self, day: datetime, making: Making, names: Collection[str]) -> dict[str, Columns] | None:
        """What the day has by these names; None where that is not known."""
        with self._lock:
            kept, parts = self._days.get(day, (None, {}))
            if kept != making or not parts.keys() >= {*names}:
                return None
            return {name: part for name in names if (part := parts[name]) is not None}

    def put(self, day: datetime, making: Making, names: Collection[str], stored: Stored) -> None:
        """Keep what the day has by these names. What is of another making goes, and if it is too much, the first days.

        Not what was asked for longest ago: of a year, each day would go just before it is read again.
        """
        with self._lock:
            kept, parts = self._days.get(day, (making, {}))
            if kept != making:
                self._size -= _size(parts)
                parts = {}
            added = {name: stored.get(name) for name in names if name not in parts}
            self._days[day] = (making, {**parts, **added})
            self._size += _size(added)
            while self._size > self._most:
                self._size -= _size(self._days.pop(min(self._days))[1])


class KeptJoins:
    """The same sums of several days as one, for the next page over these days. For threads.

    Days are the same where they are the same objects: of each day that is kept there is one, and nobody changes it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._joins: OrderedDict[tuple[str, int, datetime], Join] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str, days: Sequence[tuple[datetime, Columns]]) -> Columns | None:
        key = (name, len(days), days[0][0])
        with self._lock:
            found = self._joins.get(key)
            if found is None or any(kept is not day for kept, (_, day) in zip(found.days, days, strict=True)):
                return None
            self._joins.move_to_end(key)
            return found.columns

    def put(self, name: str, days: Sequence[tuple[datetime, Columns]], columns: Columns) -> None:
        """Keep it. Others of the same name, first day and number of days go, and if it is too much, the least used."""
        key, join = (name, len(days), days[0][0]), Join(tuple(day for _, day in days), columns)
        with self._lock:
            if (replaced := self._joins.pop(key, None)) is not None:
                self._size -= replaced.size
            self._joins[key] = join
            self._size += join.size
            while self._size > self._most:
                self._size -= self._joins.popitem(last=False)[1].size


class Join(NamedTuple):
    days: tuple[Columns, ...]
    columns: Columns

    @property
    def size(self) -> int:
        """With the days: they stay as long, even where they are not kept any more."""
        return sum(map(_bytes, (self.columns, *self.days)))


def _bytes(columns: Columns) -> int:
    return sum(OF_COLUMN + len(each.numbers) + OF_VALUE * len(each.values or ()) for each in columns.values())


def _size(parts: Mapping[str, Columns | None]) -> int:
    return sum(_bytes(part or {}) for part in parts.values())


KEPT: Final = KeptDays(MOST_BYTES)
JOINED: Final = KeptJoins(MOST_JOINED_BYTES)
