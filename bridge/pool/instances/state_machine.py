"""The states of an instance as one machine: in which it is after something has happened to it. Pure.

Two are no part of it, as they are looked at and not kept: busy, which is ready with every place taken, and gone, which
only others can see.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

from bridge.status.accounts import Remedy
from bridge.status.states import InstanceState

STATES: Final[Mapping[Remedy, InstanceState]] = {
    Remedy.NONE: InstanceState.READY,
    Remedy.LOGIN: InstanceState.LOGIN_REQUIRED,
    Remedy.TIME: InstanceState.DEGRADED,
    Remedy.ADMINISTRATOR: InstanceState.FAILED,
}
"""Of an instance that is connected, by what its account lacks."""
HELD: Final = frozenset({InstanceState.COOLING, InstanceState.DRAINING})
"""It takes no turns by an order, or for a pause."""
CONNECTED: Final = frozenset(STATES.values()) | HELD
"""It can be used, or could but for its account, an order or a pause."""


class Event(Enum):
    """What happens to an instance."""

    BEGINS = auto()
    """A run of its service, or another connection to it."""
    SIGNED_ON = auto()
    """It is connected, and its account was read."""
    CHANGED = auto()
    """Its account, an order or a pause may be another than before."""
    LOST = auto()
    """The connection; it is made again."""
    ENDS = auto()
    """The run, when its turns have ended: by order, or as the gateway stops."""
    FAILED = auto()
    """The run; another begins after a pause."""
    RESTS = auto()
    """By order: no run begins."""
    CLOSED = auto()
    """For good."""


ALWAYS: Final[Mapping[Event, InstanceState]] = {
    Event.BEGINS: InstanceState.STARTING,
    Event.FAILED: InstanceState.BACKOFF,
    Event.RESTS: InstanceState.STOPPED,
    Event.CLOSED: InstanceState.STOPPED,
}
"""Those after which nothing else counts."""


def connected(remedy: Remedy, *, is_held: bool, is_paused: bool) -> InstanceState:
    """In which state one is that is connected. `is_held`: it takes no turns by order, or its run is to end."""
    if is_held:
        return InstanceState.DRAINING
    # What an account lacks is worth more to know than a pause that ends by itself.
    return InstanceState.COOLING if remedy is Remedy.NONE and is_paused else STATES[remedy]


def after(state: InstanceState, event: Event, found: InstanceState) -> InstanceState:
    """The state that follows. `found` is what `connected` says, for the events that ask for it."""
    match event:
        case Event.SIGNED_ON:
            return found
        # One that is away stays so, whatever somebody orders or its account becomes.
        case Event.CHANGED:
            return found if state in CONNECTED else state
        case Event.LOST:
            return InstanceState.STARTING if state in CONNECTED else state
        case Event.ENDS:
            return state if state is InstanceState.STOPPED else InstanceState.DRAINING
        case _:
            return ALWAYS[event]
