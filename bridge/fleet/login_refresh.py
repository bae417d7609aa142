"""Logins that are made again by themselves: the schedule's look at every one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from django.db.models import BooleanField, ExpressionWrapper, Max, Q, QuerySet, Subquery
from django.utils import timezone

from accounts.audit.context import Source, acting
from bridge.fleet import attempts
from bridge.logins.schedule import (
    MOST_FAILURES,
    LoginFacts,
    RefreshTimes,
    RunningAttempt,
    due_at,
    reason_to_log_in,
    renewed_from,
)
from bridge.models import TIMES, Login, LoginAttempt, LoginRefresh
from bridge.status.accounts import AccountState
from bridge.status.attempts import SERVICE, AttemptReason, AttemptState
from bridge.status.logins import LoginKind

logger = logging.getLogger(__name__)

WITH, MADE, OF_ALL = "with_credentials", "made_at", "of_all_"
AT_ONCE_AFTER: Final = timedelta(minutes=1)
ACTOR: Final = "lost login"


def facts_of(login: Login) -> LoginFacts:
    """What the schedule goes by."""
    return LoginFacts(
        login.pk, login.generation, AccountState(login.account), _unix(login.expires_at), _unix(login.refreshed_at),
        _unix(login.__dict__.get(MADE)), login.failures, _unix(login.retry_at),
        may_run_alone=LoginKind(login.kind).has_credentials and _has_credentials(login),
    )  # fmt: skip


def _has_credentials(login: Login) -> bool:
    """Without reading them where the query has left them out."""
    found = login.__dict__.get(WITH)
    return login.credentials is not None if found is None else bool(found)


def times_of(login: Login, defaults: Mapping[str, float]) -> RefreshTimes:
    """As its own row says, else that of all logins, else `defaults`. Of a row that has the facts."""
    said = {name: (getattr(login, name), login.__dict__.get(OF_ALL + name), defaults.get(name)) for name in TIMES}
    found = {name: next((each for each in values if each is not None), None) for name, values in said.items()}
    return RefreshTimes(**{name: value for name, value in found.items() if value is not None})


def known() -> QuerySet[Login]:
    """All logins, with what the schedule goes by and without what they consist of."""
    return with_facts(Login.objects.all())


def with_facts(rows: QuerySet[Login]) -> QuerySet[Login]:
    made = Max("attempts__ended_at", filter=Q(attempts__state=AttemptState.DONE) & ~Q(attempts__way=SERVICE))
    of_all = LoginRefresh.objects.filter(pk=LoginRefresh.ONLY)
    times = {OF_ALL + name: Subquery(of_all.values(name)[:1]) for name in TIMES}
    return _with_credentials(rows).annotate(**{MADE: made}, **times)


def _with_credentials(rows: QuerySet[Login]) -> QuerySet[Login]:
    """Whether there are any, and not what they are."""
    has_any = ExpressionWrapper(Q(credentials__isnull=False), output_field=BooleanField())
    return rows.annotate(**{WITH: has_any}).defer("bundle", "credentials")


def begin_due(defaults: Mapping[str, float]) -> None:
    """Have those made again that are due. Two schedulers begin one attempt: the row of it allows no other."""
    for login in known():
        reason = _reason(login, defaults)
        if reason is not None:
            attempt, is_new = attempts.begin(
                login, LoginKind(login.kind), reason, due=lambda found: _is_due(found.pk, defaults)
            )
            if is_new and attempt is not None:
                logger.info("login %s: an attempt begins by itself: %s", login.label, reason.label)


def begin_lost(login: int) -> None:
    """Have it made again at once if it is lost, and not only at the schedule's next look.

    Not so soon after another loss: what is lost again and again must not be made again without a pause.
    """
    found = _lost(login)
    if found is None:
        return
    since = timezone.now() - AT_ONCE_AFTER
    if not LoginAttempt.objects.filter(login=login, reason=AttemptReason.LOST, ended_at__gt=since).exists():
        with acting(Source.SCHEDULE, ACTOR):
            attempts.begin(found, LoginKind(found.kind), AttemptReason.LOST, due=lambda _: _lost(login) is not None)


def _lost(login: int) -> Login | None:
    """That one, if it is lost and can be made again now."""
    found = known().filter(pk=login).first()
    return found if found is not None and _reason(found, {}) is AttemptReason.LOST else None


def renewals() -> dict[int, float]:
    """From when on each login is made again without a person, once it is lost: Unix seconds; infinity: it is not."""
    rows = LoginAttempt.objects.filter(ended_at=None).only("login", "way", "state", "begun_at", "seen_at")
    running = {row.login_id: _running(row) for row in rows}
    found = _with_credentials(Login.objects.all())
    return {login.pk: renewed_from(facts_of(login), running.get(login.pk)) for login in found}


def _running(attempt: LoginAttempt) -> RunningAttempt:
    needs_person = attempt.way == LoginKind.BROWSER or attempt.state == AttemptState.NEEDS_PERSON
    return RunningAttempt(attempt.begun_at.timestamp(), attempt.seen_at is not None, needs_person)


def next_at(login: Login, defaults: Mapping[str, float]) -> float:
    """When it is made again by itself, unix seconds; 0: never, or nobody knows. Of a row that has the facts."""
    facts = facts_of(login)
    if not facts.may_run_alone or facts.failures >= MOST_FAILURES:
        return 0.0
    return max(due_at(facts, times_of(login, defaults)), facts.retry_at)


def _is_due(login: int, defaults: Mapping[str, float]) -> bool:
    found = known().filter(pk=login).first()
    return found is not None and _reason(found, defaults) is not None


def _reason(login: Login, defaults: Mapping[str, float]) -> AttemptReason | None:
    return reason_to_log_in(facts_of(login), times_of(login, defaults), timezone.now().timestamp())


def _unix(moment: datetime | None) -> float:
    return moment.timestamp() if moment is not None else 0.0
