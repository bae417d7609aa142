"""The breaker of one instance at work: it hears how turns end, and says when they are let in again."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Final

from bridge.lingma.stream import ReplyStream
from bridge.pool.instances.account_suspicion import AccountSuspicion
from bridge.pool.instances.breaker import Breaker, Cause, Outcome, outcome_of

LOOK_SEC: Final = 0.05
"""So often it is looked whether something has come of the one turn that decides."""
ALONE_SEC: Final = 1.0
"""The pause after a rate limit where no other instance can take the turns."""


class Health:
    """Says by `lets_in` whether turns may come. An attribute: each question looks at it."""

    def __init__(self, longest: float) -> None:
        self.breaker = Breaker(longest)
        self.lets_in = True
        self.reopens = False
        """Its pause ends now, and not because anything of the service has changed."""
        self.wants_probe = False
        """The next turn that gets a place decides for all."""
        self.is_alone: Callable[[], bool] = lambda: False
        """Whether no other instance can take the turns that this one does not."""
        self.has_last_plan: Callable[[], bool] = lambda: False
        """Whether nobody with another plan can take the turns that this one does not."""
        self.on_no_plan: Callable[[], None] = lambda: None
        """Called when a pause begins because the plan of the account is used up."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when `lets_in` or the cause of a pause is another."""
        self.suspicion = AccountSuspicion()
        self._shown = Cause.NONE, False
        self._probe: ReplyStream | None = None
        self._is_reserved = False
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def cause(self) -> Cause:
        return self.breaker.cause

    @property
    def is_cooling(self) -> bool:
        """Nothing is asked before a pause is over."""
        return self.cools_for() > 0

    def cools_for(self) -> float:
        """Seconds for which no turn is let in; 0 or less: it may be, if only one to find out."""
        return self.breaker.until - time.monotonic()

    def cool_until(self) -> float:
        """Unix seconds; 0: there is no pause."""
        seconds = self.cools_for()
        return time.time() + seconds if seconds > 0 else 0.0

    def placed(self) -> None:
        """A turn gets the place after a pause; no other does until it is known what became of it."""
        self.breaker.probe(time.monotonic())
        self._is_reserved = True
        self._update()

    def asked(self, stream: ReplyStream) -> None:
        """The turn that has the place is asked now: its stream decides."""
        if self._is_reserved:
            self._probe, self._is_reserved = stream, False

    def left(self) -> None:
        """The turn that was to decide has left; without a verdict of it the next one is to."""
        if self.breaker.is_probed:
            self.breaker.give_up_probe()
        self._probe, self._is_reserved = None, False
        self._update()

    def ended(self, stream: ReplyStream) -> None:
        """A turn has ended. Runs once for each."""
        error = stream.end.error if stream.end is not None else None
        if error is None and self.breaker.is_closed and stream is not self._probe:
            self.breaker.ended(Outcome.GOOD, time.monotonic(), 0.0)  # nothing opens by it
            return
        self.suspicion.refused(error)
        is_probe = stream is self._probe
        outcome = outcome_of(error, has_begun=stream.has_begun)
        hint: float | None = error.retry_after if error is not None else None
        # Turns would wait for nobody: one that is asked is at least told why by the service itself.
        if outcome is Outcome.NO_PLAN:
            if self.has_last_plan():
                outcome = Outcome.GOOD if is_probe else Outcome.NOTHING
        elif self.is_alone():
            outcome, hint = Outcome.NOTHING if outcome is Outcome.FAILED else outcome, ALONE_SEC
        tell = self.breaker.probed if is_probe else self.breaker.ended
        self._probe = None if is_probe else self._probe
        pauses = self.breaker.pauses
        tell(outcome, time.monotonic(), random.random(), hint)  # noqa: S311
        if self.cause is Cause.NO_PLAN and self.breaker.pauses > pauses:
            self.on_no_plan()  # first, so that nobody is sent from this one to the next of its login
        self._update()

    def pause_with(self, other: Health) -> None:
        """Pause for as long as that one: both have one login."""
        self.breaker.pause_with(other.breaker)
        self._update()

    def reopen(self) -> None:
        """Turns are let in at once, whatever they will be told."""
        self.reopens = True
        self.breaker.probed(Outcome.GOOD, time.monotonic(), 0.0)
        self._probe, self._is_reserved = None, False
        self._update()
        self.reopens = False

    def clear(self) -> None:
        """Turns are let in at once."""
        self.breaker.clear()
        self._probe, self._is_reserved = None, False
        self._update()

    def account_read(self, at: float) -> None:
        """It is known what the account was then, by the monotonic clock."""
        if self.suspicion.read(at):
            self._update()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _update(self) -> None:
        """What follows from the breaker, and when to look again."""
        now = time.monotonic()
        before = self.lets_in, self._shown
        self.lets_in = self.breaker.lets_in(now) and not self.suspicion.is_logged_out
        self.wants_probe = self.lets_in and not self.breaker.is_closed
        self._shown = self.cause, self.is_cooling
        self.close()
        if not self.breaker.is_closed and not self.wants_probe:
            pause = LOOK_SEC if self.breaker.is_probed else self.breaker.until - now
            self._timer = self._loop.call_later(max(0.0, pause), self._look)
        if (self.lets_in, self._shown) != before:
            self.on_change()

    def _look(self) -> None:
        """A timer and no event: the first piece of a reply would cost every turn one."""
        if self._probe is not None and self._probe.has_begun:
            self._probe = None
            self.breaker.probed(Outcome.GOOD, time.monotonic(), 0.0)
        self._update()
