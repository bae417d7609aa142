"""Writes the rows of the audit log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.db.models import Model

from accounts.audit import context
from accounts.audit.watched import CHANGED, CREATED
from accounts.models import AuditEntry

Changes = Mapping[str, list[str | None]]
"""Names of columns to what was there before and after, as text."""

LONGEST_NAME: Final = 200


def record(action: str, object_type: str, object_id: Any = "", text: str = "", changes: Changes | None = None) -> None:
    """Write a row about something that is in no watched table, such as a session. In the caller's transaction."""
    if context.is_recording():
        # What comes after this row is a change of its own, also of an object that was changed just before.
        context.current().latest = None
        _new(action, object_type, object_id, text, changes or {}).save(force_insert=True)


def record_all(action: str, objects: Iterable[tuple[Model, Changes]]) -> None:
    """Write a row for each of these objects."""
    AuditEntry.objects.bulk_create(
        (_new(action, label_of(each), each.pk, str(each), changes) for each, changes in objects), batch_size=500
    )
    context.current().latest = None


def record_object(action: str, instance: Model, changes: Changes, text: str | None = None) -> None:
    """Write a row, or add to the last one: a form saves an object first and then what is linked to it."""
    if not changes and action == CHANGED:
        return
    acting = context.current()
    entry = _new(action, label_of(instance), instance.pk, str(instance) if text is None else text, changes)
    if not (action == CHANGED and acting.latest and _continues(acting.latest, entry)):
        entry.save(force_insert=True)
        # To a deletion or a rotation nothing is added: it is what happened, whatever else is saved with it.
        acting.latest = entry if action in (CREATED, CHANGED) else None


def _continues(latest: AuditEntry, entry: AuditEntry) -> bool:
    if (latest.object_type, latest.object_id) != (entry.object_type, entry.object_id):
        return False
    changes = {**latest.changes}
    for name, (before, after) in entry.changes.items():
        changes[name] = [changes[name][0] if name in changes else before, after]
    # What was changed there and back has not changed.
    changes = {name: pair for name, pair in changes.items() if pair[0] != pair[1]}
    latest.changes, latest.object_text = changes, entry.object_text
    return AuditEntry.objects.continue_last(latest, keep=bool(changes) or latest.action == CREATED)


def label_of(instance: Model) -> str:
    return instance._meta.label_lower


def _new(action: str, object_type: str, object_id: Any, text: str, changes: Changes) -> AuditEntry:
    acting = context.current()
    return AuditEntry(
        actor=acting.actor()[:150],
        source=acting.source,
        address=acting.address[:64],
        action=action,
        object_type=object_type,
        object_id=str(object_id)[:64],
        object_text=text[:LONGEST_NAME],
        changes=dict(changes),
    )
