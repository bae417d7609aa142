"""What operators want of an instance, and which state it is in by that and by its account."""

from __future__ import annotations

import math
import time
from typing import Final

import msgspec

from bridge.pool.instances.state_machine import connected
from bridge.status.accounts import Remedy
from bridge.status.logins import WantedLogin
from bridge.status.states import InstanceState
from bridge.status.transitions import TransitionReason
from bridge.status.versions import WantedVersion
from bridge.status.wanted import Maintenance, Mode

EVERY: Final = ""
"""In place of a name: each instance that has no order of its own."""


class Order(msgspec.Struct, frozen=True):
    """What is wanted of one instance. Times are Unix seconds, 0 where nobody has asked for it."""

    mode: Mode = Mode.RUN
    restart_before: float = 0.0
    """A run that began before this is ended and another begun."""
    cool_until: float = 0.0
    """It takes no turns until then."""
    cleared_at: float = 0.0
    """Pauses that began before this end."""
    smoke_at: float = 0.0
    """When a short chat was asked for, to see whether it works."""
    version: WantedVersion | None = None
    """None: as the settings say."""
    login: WantedLogin | None = None
    """None: no login is put into its work dir."""
    maintenance: Maintenance | None = None
    """A window that is open; what is stricter counts, this or `mode`."""

    @property
    def held_until(self) -> float:
        """Until when it takes no turns, if nobody gives another order; 0: it may, infinity: nobody knows."""
        if self.mode is not Mode.RUN:
            return math.inf
        return self.maintenance.until if self.maintenance is not None else 0.0

    @property
    def wants_stop(self) -> bool:
        return Mode.STOP in (self.mode, self.maintenance.mode if self.maintenance is not None else Mode.RUN)


class Orders:
    """The order in force. Without any, an instance runs."""

    def __init__(self) -> None:
        self.order = Order()
        self.ends_to_restart = True
        """A run ends to make room for the next one; else another service takes its place while it goes on."""
        self.run_began_at = 0.0
        """The run under way, in Unix seconds."""
        self.restarted_for = 0.0
        """The `restart_before` that it was started for."""
        self._is_known = False
        """What operators want."""

    def take(self, order: Order) -> Order:
        """Have that order in force; the one before."""
        before, self.order = self.order, order
        # The first may be older than the run, by its clock; those that follow are newer, whatever clocks say.
        if not self._is_known and order.restart_before <= self.run_began_at:
            self.restarted_for = order.restart_before
        self._is_known = True
        return before

    def run_begins(self, now: float) -> None:
        """Another run (`now` in Unix seconds), for all that was ordered before it."""
        self.run_began_at, self.restarted_for = now, self.order.restart_before or self.restarted_for

    @property
    def is_held(self) -> bool:
        """It takes no turns until somebody gives another order, or a window closes."""
        return self.order.held_until > 0

    @property
    def is_stopped(self) -> bool:
        return self.order.wants_stop

    @property
    def why(self) -> TransitionReason:
        """For what it is held."""
        return TransitionReason.ORDER if self.order.maintenance is None else TransitionReason.MAINTENANCE

    def held_for(self) -> float:
        """Seconds until it may take turns without anybody's help; 0 or less: it may."""
        return self.order.held_until - time.time()

    @property
    def want_end_of_run(self) -> bool:
        """The run under way has to end."""
        return self.is_stopped or (self.ends_to_restart and self.is_asked_to_restart)

    @property
    def is_asked_to_restart(self) -> bool:
        """The run under way is to be followed by another."""
        # What was started for an order has obeyed it, whatever clock the order was written by.
        return self.order.restart_before not in (0.0, self.restarted_for)

    def cools_for(self) -> float:
        """Seconds for which it takes no turns; 0 or less: it may."""
        return self.order.cool_until - time.time()

    def state_of(self, remedy: Remedy, *, is_cooling: bool = False) -> InstanceState:
        """The state of an instance that is connected. `is_cooling`: not by order."""
        is_held = self.is_held or self.want_end_of_run
        return connected(remedy, is_held=is_held, is_paused=is_cooling or self.cools_for() > 0)
