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


class Advised(StrEnum):
    """The same with advice: one sentence for operators, in English; "" where nothing has to be done."""

    label: str
    advice: str

    def __new__(cls, value: str, label: str = "", advice: str = "") -> Self:
        self = str.__new__(cls, value)
        self._value_ = value
        self.label, self.advice = label, advice
        return self

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        """A stored word that this build does not have, as another one wrote it: nothing can be said of it."""
        return cls._value2member_map_.get("")  # type: ignore[return-value]  # of any enum; this one has its own
