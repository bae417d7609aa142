"""What an attempt to log in that has failed costs its login: a pause before the next by itself, or there is no next."""

from __future__ import annotations

from datetime import timedelta
from itertools import takewhile
from typing import Final

from django.db.models import F
from django.utils import timezone

from bridge.logins.schedule import MOST_FAILURES, PAUSES, pause_after
from bridge.models import Login, LoginAttempt
from bridge.status.attempts import AttemptReason, AttemptResult, AttemptState
from bridge.status.logins import LoginKind

BLAMELESS: Final = (AttemptResult.WORKER_ENDED, AttemptResult.NEWER, AttemptResult.BUSY)
"""What whoever runs an attempt says of its end, and that says nothing of what another would come to.

Unless a password may have been sent before it: who sends one again and again has the account locked.
"""
BEFORE_PASSWORD: Final = (AttemptState.WAITING, AttemptState.STARTING)


def is_blameless(way: LoginKind, reached: AttemptState, result: AttemptResult) -> bool:
    """`reached`: how far the attempt was when it ended."""
    if result not in BLAMELESS:
        return False
    return result is AttemptResult.NEWER or way is not LoginKind.AUTOMATIC or reached in BEFORE_PASSWORD


def count_lost(attempt: LoginAttempt, result: AttemptResult) -> None:
    """An attempt was ended from outside: nobody took it, or nobody ran it any more."""
    if not AttemptReason(attempt.reason).by_itself:
        return
    if result is AttemptResult.NO_WORKER:
        _pause_for_worker(attempt.login_id)
    else:
        # Its worker was killed: what killed it, a browser that took all memory say, may do so each time.
        count_failure(attempt.login_id)


def count_failure(login: int, *, passes: bool = False) -> None:
    """An attempt that began by itself has failed: the next one waits, or there is none until somebody acts.

    `passes`: for a reason that passes by itself; then there is a next one.
    """
    row = Login.objects.filter(pk=login)
    (row.filter(failures__lt=MOST_FAILURES - 1) if passes else row).update(failures=F("failures") + 1)
    failures = Login.objects.values_list("failures", flat=True).get(pk=login)
    _pause(login, failures)


def _pause_for_worker(login: int) -> None:
    """It is no failure of the login: the pauses grow and stay, and no attempt is the last one."""
    results = LoginAttempt.objects.filter(login=login).exclude(ended_at=None).values_list("result", flat=True)
    in_a_row = takewhile(lambda each: each == AttemptResult.NO_WORKER, results[: len(PAUSES)])
    _pause(login, max(len(list(in_a_row)), 1))


def _pause(login: int, failures: int) -> None:
    Login.objects.filter(pk=login).update(retry_at=timezone.now() + timedelta(seconds=pause_after(failures)))


def worker_is_back(attempt: int) -> None:
    """One comes to an attempt that was over, as none had taken it: the login need not wait longer for a worker."""
    found = LoginAttempt.objects.filter(pk=attempt, result=AttemptResult.NO_WORKER, seen_at=None)
    if not found.update(seen_at=timezone.now()):
        return
    login = LoginAttempt.objects.values_list("login", flat=True).get(pk=attempt)
    if LoginAttempt.objects.filter(login=login).values_list("pk", flat=True).first() == attempt:
        Login.objects.filter(pk=login).update(retry_at=None)
