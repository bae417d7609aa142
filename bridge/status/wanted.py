"""What operators may want of an instance for as long as they do not say otherwise."""

from __future__ import annotations

from enum import StrEnum

from gateway_project.lib.texts import gettext_noop


class Mode(StrEnum):
    """RUN takes turns, DRAIN finishes those it has and takes none, STOP ends the service after that."""

    label: str
    """For people, in English; pages show it translated."""

    def __new__(cls, value: str, label: str = "") -> Mode:
        self = str.__new__(cls, value)
        self._value_ = value
        self.label = label
        return self

    RUN = "run", gettext_noop("run")
    DRAIN = "drain", gettext_noop("drain")
    STOP = "stop", gettext_noop("stop")
