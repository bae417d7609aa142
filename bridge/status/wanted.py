"""What operators may want of an instance for as long as they do not say otherwise."""

from __future__ import annotations

import msgspec

from bridge.status.labelled import Labelled
from gateway_project.lib.texts import gettext_noop


class Mode(Labelled):
    """RUN takes turns, DRAIN finishes those it has and takes none, STOP ends the service after that."""

    RUN = "run", gettext_noop("run")
    DRAIN = "drain", gettext_noop("drain")
    STOP = "stop", gettext_noop("stop")


class Maintenance(msgspec.Struct, frozen=True):
    """A window that is open: what it wants of an instance, and until when."""

    name: str
    mode: Mode
    until: float
    """Unix seconds."""
