"""What happened to instances around a request. The bridge knows it, by a function that it sets on the app."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.utils.translation import gettext

from accounts.apps import accounts_config
from accounts.ledger.filing import ORPHANED
from accounts.ledger.trace import Trace
from accounts.models import Usage
from gateway_project.lib.visible import visible

BEFORE: Final = timedelta(minutes=5)
AFTER: Final = timedelta(minutes=1)
AFTER_ORPHAN: Final = timedelta(minutes=30)
"""Nobody knows how long it had run when its process ended."""
MOST_INSTANCES: Final = 8
MOST: Final = 40


class Change(NamedTuple):
    """A step of an instance. Texts are in English, marked for translation."""

    at: datetime
    instance: str
    before: str
    """"" where nobody knows it any more."""
    after: str
    why: str
    detail: str


class Changes(NamedTuple):
    """The earliest first."""

    steps: list[Change]
    are_kept: bool
    """Nothing of that time is missing."""


class Shown(NamedTuple):
    steps: list[Change]
    more: int
    nothing: str
    """Why there are none, or that some are missing."""


def instances_of(row: Usage, trace: Trace | None) -> list[str]:
    """Those that had to do with it: the chosen one first. Of the others only where none was chosen."""
    lost = [name for name, _ in trace.lost] if trace else []
    others = [*trace.others] if trace and not row.instance else []
    return [*dict.fromkeys(name for name in (row.instance, *lost, *others) if name)][:MOST_INSTANCES]


def changes_around(row: Usage, trace: Trace | None, *, details: bool) -> Shown | None:
    """In the reader's language; None for a request that no instance had to do with. `details` are for operators."""
    names = instances_of(row, trace)
    if not names:
        return None
    found = accounts_config().changes(names, row.started_at - BEFORE, _end(row))
    if found is None:
        return Shown([], 0, gettext("What happened to instances cannot be read right now."))
    # Those nearest to its beginning explain most.
    nearest = sorted(found.steps, key=lambda each: abs(each.at - row.started_at))[:MOST]
    return Shown(
        # In the order of time again: only which ones are shown was decided by nearness.
        [_translated(each, details) for each in found.steps if each in nearest],
        len(found.steps) - len(nearest),
        _words(found),
    )


def _end(row: Usage) -> datetime:
    if row.reason == ORPHANED:
        return row.started_at + AFTER_ORPHAN
    return row.started_at + timedelta(milliseconds=row.total_ms or 0) + AFTER


def _words(found: Changes) -> str:
    if not found.are_kept:
        return gettext("What happened to instances then was not recorded, or is no longer kept, or not all of it.")
    return "" if found.steps else gettext("Nothing changed around it.")


def _translated(step: Change, details: bool) -> Change:
    return step._replace(
        before=gettext(step.before) if step.before else "",
        after=gettext(step.after),
        why=gettext(step.why),
        detail=visible(gettext(step.detail)) if details and step.detail else "",
    )
