"""The state that an instance is in, since when, and how it came there."""

from __future__ import annotations

import math
import time

from bridge.pool.instances.service_link import ServiceLink
from bridge.pool.instances.state_machine import CONNECTED
from bridge.pool.instances.timeline import Timeline
from bridge.status.states import InstanceState
from bridge.status.transitions import TransitionReason


class CurrentState:
    """Changed by the instance's life alone. Times are of the monotonic clock."""

    def __init__(self, link: ServiceLink) -> None:
        self.state = InstanceState.STOPPED
        self.is_ready = False
        """It can take turns. Kept beside the state, because each choice of an instance asks for it."""
        self.since = -math.inf
        self.away_since = time.monotonic()
        """When it could be used the last time; until then, when it was made."""
        self.timeline = Timeline()
        self._link = link

    @property
    def is_connected(self) -> bool:
        """It can be used, or could but for its account, an order or a pause. A run that ends has no connection."""
        return self.state in CONNECTED and self._link.connection is not None

    @property
    def away_for(self) -> float:
        """Seconds since it could be used, or was made."""
        return 0.0 if self.is_connected else time.monotonic() - self.away_since

    def enter(
        self, state: InstanceState, why: TransitionReason, detail: str, generation: int, *, lets_in: bool
    ) -> None:
        """Be in another state. `lets_in`: turns may come if that state takes any."""
        self.timeline.note(state, why, detail, generation)
        self.since = time.monotonic()
        if self.is_connected:
            self.away_since = self.since
        self.state = state
        self.let_in(lets_in=lets_in)

    def let_in(self, *, lets_in: bool) -> None:
        """Turns may come, or may not, as far as its health goes."""
        self.is_ready = self.state is InstanceState.READY and lets_in

    def succeed(self, before: CurrentState) -> None:
        """Go on with what has happened to the one before."""
        self.timeline, before.timeline = before.timeline, Timeline()
