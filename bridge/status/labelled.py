"""Lists whose values have a name for people."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Labelled(StrEnum):
    """One line of such a list is a value and its label."""

    label: str
    """For people, in English; pages show it translated."""

    def __new__(cls, value: str, label: str = "") -> Self:
        # An own `__new__`, as StrEnum would take the label for an encoding.
        self = str.__new__(cls, value)
        self._value_ = value
        self.label = label
        return self
