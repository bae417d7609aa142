"""What happens to an instance: from one state to another, and why; its page shows it as a timeline."""

from __future__ import annotations

from typing import Final

import msgspec

from bridge.status.labelled import Labelled
from bridge.status.states import InstanceState
from gateway_project.lib.texts import gettext_noop

MOST: Final = 200
"""So many are kept of each instance, and of those OF_LOAD:"""
MOST_OF_LOAD: Final = 50
LONGEST_DETAIL: Final = 500


class TransitionReason(Labelled):
    """Why an instance came into a state, or what happened in it."""

    STARTED = "started", gettext_noop("its service is started")
    CONNECTED = "connected", gettext_noop("it is connected")
    ACCOUNT = "account", gettext_noop("its account is another")
    ORDER = "order", gettext_noop("by order")
    MAINTENANCE = "maintenance", gettext_noop("a maintenance window is open")
    MAINTAINED = "maintained", gettext_noop("the maintenance window is over")
    LIMITED = "limited", gettext_noop("its service refuses turns for a while")
    NO_PLAN = "no_plan", gettext_noop("the plan of its account is used up")
    ALONE = "alone", gettext_noop("no other can take its turns")
    FAILING = "failing", gettext_noop("most turns fail there")
    TRIED = "tried", gettext_noop("one turn tries whether it works again")
    LOST = "lost", gettext_noop("the connection was lost")
    FAILED = "failed", gettext_noop("it failed")
    REPLACING = "replacing", gettext_noop("a successor is started beside it")
    REPLACED = "replaced", gettext_noop("the successor has taken over")
    KEPT = "kept", gettext_noop("it goes on, as its successor is of no use")
    FULL = "full", gettext_noop("every place is taken")
    ROOM = "room", gettext_noop("it was busy, and has room again")
    CLOSED = "closed", gettext_noop("the gateway stops")


OF_LOAD: Final = frozenset({TransitionReason.FULL, TransitionReason.ROOM})
"""What comes and goes with the load. It is kept apart, so that it never pushes out what went wrong."""


class Transition(msgspec.Struct, frozen=True):
    """One step of a timeline."""

    at: float
    """Unix seconds."""
    state: InstanceState
    """Since then."""
    why: TransitionReason
    detail: str = ""
    """In the words of what failed, in English."""
    generation: int = 0
