"""Whether an instance is asked at all: one that refuses or fails turns is left alone for a while, then tried by one."""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import Final

from bridge.chat.errors import (
    ConnectionLost,
    Forbidden,
    GatewayError,
    NoPlan,
    RateLimited,
    SlowClient,
    UpstreamFailed,
)
from bridge.pool.policy import breaker_pause

WINDOW_SEC: Final = 60.0
LEAST_FAILED: Final = 10
"""With fewer failed turns within WINDOW_SEC nobody can tell an instance that fails from prompts that do."""
SHARE: Final = 0.5
"""Of the turns within WINDOW_SEC: so many have to fail."""
CALM_SEC: Final = 60.0
"""After so long without a pause the next one is as short as the first."""
PROBE_SEC: Final = 30.0
"""So long one turn decides alone; then another one may."""
MOST_TURNS: Final = 200


class Outcome(StrEnum):
    """The end of a turn, as it speaks for or against its instance; NOTHING: for neither."""

    GOOD = "good"
    LIMITED = "limited"
    NO_PLAN = "no_plan"
    FAILED = "failed"
    NOTHING = "nothing"


class Cause(StrEnum):
    """The kind of outcome that began a pause; NONE: there is no pause."""

    NONE = ""
    LIMITED = "limited"
    NO_PLAN = "no_plan"
    FAILED = "failed"


def outcome_of(error: GatewayError | None, *, has_begun: bool) -> Outcome:
    """`error` is how the service, or the gateway, ended the turn; `has_begun`: something of the reply had come."""
    match error:
        case None:
            return Outcome.GOOD
        case RateLimited():
            return Outcome.LIMITED
        case ConnectionLost() | SlowClient():  # lost with its connection, or given up: the lifecycle sees the former
            return Outcome.GOOD if has_begun else Outcome.NOTHING
        case UpstreamFailed():
            return Outcome.FAILED
        case NoPlan(of_login=True):
            return Outcome.NO_PLAN
        case Forbidden():  # the account may not do this; that says nothing of the next turn
            return Outcome.NOTHING
        case _:
            return Outcome.GOOD  # it looked at the request, and refused that one


class Breaker:
    """No pause is longer than `longest`; with 0 there is none. Times are seconds of any one clock, `jitter` is 0 to 1.

    closed --- a rate limit, no plan, or most fail -> open (no turn, until `until`)
      ^                                               |   ^
      |                                        time is up  the turn is refused or fails
      |                                               v   |
      +----------- something of a reply ----------- half open (one turn)
    """

    def __init__(self, longest: float) -> None:
        self.until = 0.0
        self.cause = Cause.NONE
        """Of the pause under way; NONE while it is closed."""
        self.pauses = 0
        """In all."""
        self._longest = longest
        self._in_a_row = 0
        self._closed_at = float("-inf")
        self._probed_at: float | None = None
        self._turns: deque[tuple[float, bool]] = deque(maxlen=MOST_TURNS)

    @property
    def is_closed(self) -> bool:
        """Turns are asked as ever."""
        return self.cause is Cause.NONE

    @property
    def is_probed(self) -> bool:
        """One turn is on its way to find out."""
        return self._probed_at is not None

    def lets_in(self, now: float) -> bool:
        """True where no pause goes on, or its time is over and no turn probes. Monotonic seconds."""
        if self.is_closed:
            return True
        probed_at = self._probed_at
        return now >= self.until and (probed_at is None or now - probed_at >= PROBE_SEC)

    def probe(self, now: float) -> None:
        """A turn takes the one place that there is after a pause."""
        self._probed_at = now

    def give_up_probe(self) -> None:
        """It ended without a word of the service: the next one may try."""
        self._probed_at = None

    def ended(self, outcome: Outcome, now: float, jitter: float, retry_after: float | None = None) -> None:
        """A turn has ended, while closed; while open those that began before it. Not the one that probes."""
        if outcome in {Outcome.LIMITED, Outcome.NO_PLAN}:
            # Turns that were asked before the pause: one storm is one pause, at most made longer by the service's word.
            if self.is_closed:
                self._open(Cause(outcome), now, jitter, retry_after)
            elif retry_after is not None and not self.is_probed:
                self.until = max(self.until, now + min(self._longest, retry_after))
        elif outcome is not Outcome.NOTHING and self.is_closed:
            self._turns.append((now, outcome is Outcome.FAILED))
            if outcome is Outcome.FAILED and self._most_fail(now):
                self._open(Cause.FAILED, now, jitter, None)

    def probed(self, outcome: Outcome, now: float, jitter: float, retry_after: float | None = None) -> None:
        """Take what came of the turn that probes: it ends the pause, or begins another. `retry_after` in seconds."""
        self._probed_at = None
        match outcome:
            case Outcome.GOOD:
                self._close(now)
            case Outcome.LIMITED | Outcome.NO_PLAN:
                self._open(Cause(outcome), now, jitter, retry_after)
            case Outcome.FAILED:
                self._open(Cause.FAILED, now, jitter, None)

    def pause_with(self, other: Breaker) -> None:
        """For as long as that one, for the same reason; a turn that is on its way to find out goes on."""
        if not self.is_probed:
            self.cause, self.until, self._in_a_row = other.cause, max(self.until, other.until), other._in_a_row
            self.pauses += 1
            self._turns.clear()

    def clear(self) -> None:
        """As if nothing had happened."""
        self._close(float("-inf"))
        self._in_a_row = 0

    def _close(self, now: float) -> None:
        self.cause, self.until, self._closed_at, self._probed_at = Cause.NONE, 0.0, now, None
        self._turns.clear()

    def _open(self, cause: Cause, now: float, jitter: float, retry_after: float | None) -> None:
        if not self._longest:
            return
        if self.is_closed and now - self._closed_at > CALM_SEC:
            self._in_a_row = 0
        self._in_a_row += 1
        self.pauses += 1
        pause = breaker_pause(self._in_a_row, jitter) if retry_after is None else retry_after
        self.cause, self.until, self._probed_at = cause, now + min(self._longest, pause), None
        self._turns.clear()

    def _most_fail(self, now: float) -> bool:
        while self._turns and self._turns[0][0] <= now - WINDOW_SEC:
            self._turns.popleft()
        failed = sum(has_failed for _, has_failed in self._turns)
        return failed >= LEAST_FAILED and failed >= SHARE * len(self._turns)
