"""What instances did with a short question, version by version: another behaviour in another version is an alert."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from accounts.alerts.raising import raise_alert
from bridge.models import Instance, InstanceOrder
from bridge.status.smoke import Behaviour
from bridge.status.states import TAKING_TURNS

BEHAVIOUR_CHANGED: Final = "behaviour_changed"
Seen = Mapping[str, tuple[str, str]]
"""Names to behaviours, and the versions that showed them."""
COLUMNS: Final = ("behaviour", "behaves_in")
AGAIN: Final = timedelta(minutes=10)
"""One that was only too busy is asked again then."""


def keep(rows: Mapping[str, Instance]) -> Seen:
    """Have the rows say what was seen last: now, or before. What was seen before."""
    known = Instance.objects.filter(pk__in=rows).exclude(behaviour="")
    before = {name: (behaviour, version) for name, behaviour, version in known.values_list("name", *COLUMNS)}
    for name, row in rows.items():
        row.behaviour, row.behaves_in = before.get(name, ("", ""))
        if row.smoke is not None and row.smoke.behaviour:
            row.behaviour, row.behaves_in = row.smoke.behaviour, row.smoke.version
    return before


def raise_alert_about(before: Seen, rows: Mapping[str, Instance], now: datetime) -> None:
    """In the caller's transaction."""
    changed = []
    for name, (behaviour, version) in sorted(before.items()):
        row = rows[name]
        # In the same version it is a model's whim, or what other alerts are about.
        if row.behaviour != behaviour and row.behaves_in != version:
            what = f"{Behaviour(behaviour).label} → {Behaviour(row.behaviour).label}"
            changed.append(f"{name}: {version} → {row.behaves_in}: {what}")
    if changed:
        raise_alert(BEHAVIOUR_CHANGED, changed, now, subject="")


def to_be_asked(rows: Iterable[Instance], now: datetime) -> list[str]:
    """Those that run another version than the one that was asked last, where one was: do they behave as before?"""
    ready = [each for each in rows if each.state in TAKING_TURNS and each.version]
    names = {each.name for each in ready if each.behaves_in not in ("", each.version)}
    if not names:
        return []
    lately = InstanceOrder.objects.filter(name__in=names, smoke_at__gt=now - AGAIN)
    return sorted(names.difference(lately.values_list("name", flat=True)))
