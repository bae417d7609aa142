"""Logins that are made again by themselves: the schedule's look at every one."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from django.db.models import F
from django.utils import timezone

from bridge.logins.schedule import LoginFacts, RefreshTimes, pause_after
from bridge.models import Login
from bridge.status.accounts import AccountState
from bridge.status.logins import LoginKind

logger = logging.getLogger(__name__)


def facts_of(login: Login) -> LoginFacts:
    """What the schedule goes by."""
    return LoginFacts(
        login.pk, login.generation, AccountState(login.account), _unix(login.expires_at), _unix(login.refreshed_at),
        login.failures, _unix(login.retry_at), LoginKind(login.kind).has_credentials and has_credentials(login),
    )  # fmt: skip


def has_credentials(login: Login) -> bool:
    """Without reading them where the query has left them out."""
    found = login.__dict__.get("with_credentials")
    return login.credentials is not None if found is None else bool(found)


def times_of(login: Login, defaults: Mapping[str, float]) -> RefreshTimes:
    own = {name: getattr(login, name) for name in ("lead_days", "period_days", "jitter_hours")}
    return RefreshTimes(**{**defaults, **{name: value for name, value in own.items() if value is not None}})


def known() -> Sequence[Login]:
    """All logins, without what they consist of."""
    rows = Login.objects.annotate(with_credentials=F("credentials__isnull")).defer("bundle", "credentials")
    return list(rows)


def count_failure(login: int) -> None:
    """An attempt that began by itself has failed: the next one waits, or there is none until somebody acts."""
    Login.objects.filter(pk=login).update(failures=F("failures") + 1)
    failures = Login.objects.values_list("failures", flat=True).get(pk=login)
    Login.objects.filter(pk=login).update(retry_at=timezone.now() + timedelta(seconds=pause_after(failures)))


def _unix(moment: datetime | None) -> float:
    return moment.timestamp() if moment is not None else 0.0
