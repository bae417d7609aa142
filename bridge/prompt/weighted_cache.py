"""A cache of what was made of clients' texts, bounded by their size. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class WeightedCache(Generic[Value]):
    """The most recently used values, as long as their weights together are not more than `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._weight = 0
        self._entries: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()

    def get(self, key: Hashable) -> Value | None:
        found = self._entries.get(key)
        if found is None:
            return None
        # Reading counts as use: agents send the same tools for hours, and those must stay.
        self._entries.move_to_end(key)
        return found[0]

    def put(self, key: Hashable, value: Value, weight: int) -> Value:
        """Store the value and return it. One of more than an eighth of the room is not stored.

        The least recently used make room.
        """
        # One huge text must not push out everything that other keys use. The weight is the caller's word, mostly
        # characters.
        if weight > self._most // 8 or key in self._entries:
            return value
        self._entries[key] = (value, weight)
        self._weight += weight
        while self._weight > self._most:
            self._weight -= self._entries.popitem(last=False)[1][1]
        return value
