"""Alerts about what has happened; `lasting` beside it has those about a state."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db.models import QuerySet
from django.utils import timezone

from accounts.alerts.notices import queue
from accounts.alerts.words import column
from accounts.audit.context import Source, acting
from accounts.audit.entries import record
from accounts.models import Alert, AlertNotice, ApiKey

log = logging.getLogger(__name__)

TOGETHER: Final = timedelta(hours=1)
"""What happens to the same thing so soon after the beginning of an alert that is open becomes part of it."""
MOST_FACTS: Final = 20
SYSTEM: Final = "system"


def raise_alert(
    kind: str, facts: Sequence[str], at: datetime, *, key: ApiKey | None = None, subject: str = ""
) -> Alert:
    """Tell people what has happened to the key, or to what has the name `subject`. In the caller's transaction.

    `kind` is one of KINDS; `facts` are the texts that its sentence is made of. The log of changes has the beginning.
    """
    alert = Alert.objects.filter(
        kind=kind, key=key, subject=subject, acknowledged_at=None, began_at__gt=at - TOGETHER
    ).first()  # fmt: skip
    if alert is not None:
        # The first ones stay, `count` says how many there were.
        alert.facts = [*alert.facts, *facts][:MOST_FACTS]
        alert.count += len(facts)
        alert.latest_at = max(alert.latest_at, at)
        changes = {name: getattr(alert, name) for name in ("facts", "count", "latest_at")}
        # Of one that somebody has acknowledged in this moment nobody would see what is added.
        if Alert.objects.filter(pk=alert.pk, acknowledged_at=None).update(**changes):
            return alert
    alert = Alert.objects.create(
        kind=kind, key=key, subject=subject, facts=list(facts[:MOST_FACTS]), count=len(facts), began_at=at, latest_at=at
    )
    queue(alert, AlertNotice.Occasion.HAPPENED)
    # Whoever the context names has filed a row or asked for a page, and has nothing to do with it.
    with acting(Source.SCHEDULE, SYSTEM):
        _record(kind, alert, {column(kind): [None, ", ".join(alert.facts)]})
    log.warning("alert: %s %s: %s", kind, key or subject, ", ".join(alert.facts))
    return alert


def acknowledge(alert: Alert, by: str) -> bool:
    """Take the alert off the pages; False when somebody has done so already."""
    # The row count says who was first: of two, one is named.
    open_ = Alert.objects.filter(pk=alert.pk, acknowledged_at=None)
    if not open_.update(acknowledged_at=timezone.now(), acknowledged_by=by[:150]):
        return False
    _record("acknowledged", alert, {column(alert.kind): [None, ", ".join(alert.facts)]})
    return True


def open_alerts() -> QuerySet[Alert]:
    """Those that last, or have happened, and that nobody has acknowledged; the latest first."""
    return Alert.objects.filter(acknowledged_at=None, ended_at=None).select_related("key")


def _record(action: str, alert: Alert, changes: dict[str, list[str | None]]) -> None:
    """On the key, so that its history has it; else on the alert."""
    about: ApiKey | Alert = alert.key or alert
    text = str(alert.key) if alert.key else alert.subject
    record(action, about._meta.label_lower, about.pk, text, changes)
