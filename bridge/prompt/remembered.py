"""What was made of a client's text, kept for the next request that brings the same: bounded by its size. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Remembered(Generic[Value]):
    """The most recently used values, as long as their weights together are not more than `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._weight = 0
        self._kept: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()

    def get(self, key: Hashable) -> Value | None:
        found = self._kept.get(key)
        if found is None:
            return None
        # Reading counts as use: agents send the same tools for hours, and those must stay.
        self._kept.move_to_end(key)
        return found[0]

    def keep(self, key: Hashable, value: Value, weight: int) -> Value:
        """Keep it, unless it takes a good part of the room; what was not used for longest goes."""
        # One huge text must not push out everything that other keys use. The weight is the caller's word, mostly
        # characters.
        if weight > self._most // 8 or key in self._kept:
            return value
        self._kept[key] = (value, weight)
        self._weight += weight
        while self._weight > self._most:
            self._weight -= self._kept.popitem(last=False)[1][1]
        return value
