"""When a login is made again by itself, and when that has to wait. Pure: times are unix seconds."""

from __future__ import annotations

import math
import zlib
from typing import Final

import msgspec

from bridge.status.accounts import AccountState, Remedy
from bridge.status.attempts import AttemptReason

DAY: Final = 86_400.0
HOUR: Final = 3_600.0
PAUSES: Final = (300.0, 1_200.0)
"""After the first failure and after the second. After the third nothing is tried until somebody acts."""
MOST_FAILURES: Final = len(PAUSES) + 1


class RefreshTimes(msgspec.Struct, frozen=True):
    """When a login is due."""

    lead_days: float = 7.0
    period_days: float = 0.0
    jitter_hours: float = 12.0


class LoginFacts(msgspec.Struct, frozen=True):
    """What is known of a login. 0: not known, or never."""

    login: int
    generation: int
    account: AccountState
    expires_at: float = 0.0
    refreshed_at: float = 0.0
    """Its files have changed, whoever has changed them."""
    made_at: float = 0.0
    """Somebody or something has logged in."""
    failures: int = 0
    retry_at: float = 0.0
    may_run_alone: bool = False
    """It can be made again without a person."""


class RunningAttempt(msgspec.Struct, frozen=True):
    """An attempt that is not over."""

    begun_at: float
    is_claimed: bool
    """Somebody runs it."""
    needs_person: bool


def reason_to_log_in(facts: LoginFacts, times: RefreshTimes, now: float) -> AttemptReason | None:
    """Why an attempt should begin now by itself, or None."""
    if not facts.may_run_alone or facts.failures >= MOST_FAILURES or now < facts.retry_at:
        return None
    if facts.account.remedy is Remedy.LOGIN:
        return AttemptReason.LOST
    # What an administrator or some time has to cure, no login does.
    if facts.account.remedy is Remedy.ADMINISTRATOR or facts.account in (
        AccountState.ERROR,
        AccountState.NETWORK_ERROR,
    ):
        return None
    due = due_at(facts, times)
    return AttemptReason.SCHEDULE if due and now >= due else None


def renewed_from(facts: LoginFacts, attempt: RunningAttempt | None) -> float:
    """From when on a login is made again without a person, once it is lost; infinity: it is not."""
    if attempt is not None and attempt.needs_person:
        return math.inf
    # What nobody has claimed yet says nothing: there may be no login worker.
    if attempt is not None and attempt.is_claimed:
        return attempt.begun_at
    return facts.retry_at if facts.may_run_alone and facts.failures < MOST_FAILURES else math.inf


def due_at(facts: LoginFacts, times: RefreshTimes) -> float:
    """When it is made again; 0: nobody knows. The same for every process that asks."""
    if not facts.generation:
        return 0.0
    ends = [max(facts.expires_at - times.lead_days * DAY, _half(facts))] if facts.expires_at else []
    if times.period_days and (since := facts.made_at or facts.refreshed_at):
        ends.append(since + times.period_days * DAY)
    if not ends:
        return 0.0
    # Earlier, never later, and another time for each generation.
    share = zlib.crc32(f"{facts.login}:{facts.generation}".encode()) / 2**32
    early = share * times.jitter_hours * HOUR
    # Not so early that a login which has just been made is due again.
    return max(min(ends) - early, min(facts.made_at + HOUR, *ends))


def _half(facts: LoginFacts) -> float:
    """Of its life, before which no login is due: some last for less than the time before their end."""
    return (facts.made_at + facts.expires_at) / 2 if facts.made_at else 0.0


def pause_after(failures: int) -> float:
    """Seconds until the next try, after so many failures in a row."""
    return PAUSES[min(failures, len(PAUSES)) - 1] if failures else 0.0


def needs_person(facts: LoginFacts, warn_days: float, now: float) -> bool:
    """Whether somebody has to log in, today or within days, as nothing will do it."""
    if facts.may_run_alone and facts.failures < MOST_FAILURES:
        return False
    is_lost = facts.account.remedy is Remedy.LOGIN
    return is_lost or (0 < facts.expires_at < now + warn_days * DAY)
