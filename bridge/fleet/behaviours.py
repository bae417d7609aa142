"""What instances did with a short question: another behaviour is an alert, in another version or in the same."""

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
"""Names to behaviours, and the versions that showed them; without a behaviour, the version that left and was not asked.
"""
COLUMNS: Final = ("behaviour", "behaves_in")
AGAIN: Final = timedelta(minutes=10)
"""One that was only too busy is asked again then."""
NO_WHIM: Final = 2
"""So often in a row a version has to behave in another way than before: a model may answer with other words once."""


def keep(rows: Mapping[str, Instance]) -> Seen:
    """Have the rows say what was seen last: now, or before. What was seen before."""
    known = Instance.objects.filter(pk__in=rows).values_list("name", *COLUMNS, "version")
    before = {name: (behaviour, seen or _left(version, rows[name])) for name, behaviour, seen, version in known}
    for name, row in rows.items():
        row.behaviour, row.behaves_in = before.get(name, ("", ""))
        if row.smoke is not None and row.smoke.behaviour and not _is_doubtful(row):
            row.behaviour, row.behaves_in = row.smoke.behaviour, row.smoke.version
    return before


def _left(version: str, row: Instance) -> str:
    """The version that it had, where it has another one now."""
    return version if row.version and row.version != version else ""


def _is_doubtful(row: Instance) -> bool:
    """It has behaved in another way than that version did before, which is not to be believed yet."""
    smoke = row.smoke
    if smoke is None or smoke.version != row.behaves_in or smoke.behaviour in ("", row.behaviour):
        return False
    # That it fails, or answers nothing, is what another alert is about.
    return not smoke.ok or smoke.times < NO_WHIM


def raise_alert_about(before: Seen, rows: Mapping[str, Instance], now: datetime) -> None:
    """In the caller's transaction."""
    changed = []
    for name, (behaviour, version) in sorted(before.items()):
        row = rows[name]
        # A version that nobody asked is taken to have answered as asked; where none has left, nothing has changed.
        if version and row.behaviour not in ("", behaviour or Behaviour.AS_ASKED):
            what = " → ".join(Behaviour(each).label for each in (behaviour, row.behaviour) if each)
            versions = version if version == row.behaves_in else f"{version} → {row.behaves_in}"
            changed.append(f"{name}: {versions}: {what}")
    if changed:
        raise_alert(BEHAVIOUR_CHANGED, changed, now, subject="")


def _may_show_again(row: Instance) -> bool:
    return row.smoke is not None and row.smoke.ok and _is_doubtful(row)


def to_be_asked(rows: Iterable[Instance], now: datetime) -> list[str]:
    """Those that run another version than the one that was asked last, or than before: do they behave as they should?
    And those that did not the last time: do they again?
    """
    ready = [each for each in rows if each.state in TAKING_TURNS and each.version]
    names = {each.name for each in ready if each.behaves_in not in ("", each.version) or _may_show_again(each)}
    if not names:
        return []
    lately = InstanceOrder.objects.filter(name__in=names, smoke_at__gt=now - AGAIN)
    return sorted(names.difference(lately.values_list("name", flat=True)))
