"""The way of a request in time: what it went through, as a bar and as a table."""

from __future__ import annotations

from typing import Final, NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.explain.sentences import seconds
from accounts.ledger.trace import Trace
from accounts.models import Usage

WIDTH: Final = 1000
"""Of the bar, in its own units."""
CHECKED: Final = _("Read and checked")
WAITED: Final = _("Waited for a place")
RETRIED: Final = _("Waited for a place, and tried in vain")
PREPARED: Final = _("Prepared the question")
SILENT: Final = _("Waited for the first text")
ANSWERED: Final = _("Answered")
BROKEN: Final = _("Sent text until it ended")
ENDED: Final = _("Until the end, without any text")


class Step(NamedTuple):
    """One stretch. `x` and `width` are its place in the bar, `kind` its colour."""

    name: str | Promise
    kind: str
    until: str
    took: str
    x: int
    width: int


def steps_of(row: Usage, trace: Trace | None) -> list[Step]:
    """The stretches that are known; none for a request that was refused at once."""
    marks = _marks(row, trace or Trace())
    if not row.total_ms:
        return []
    steps, before = [], 0
    for name, kind, end_ms in marks:
        # Clocks of two rounds of a loop may be a millisecond apart.
        at = min(max(end_ms, before), row.total_ms)
        x, end = (round(ms * WIDTH / row.total_ms) for ms in (before, at))
        steps.append(Step(name, kind, seconds(at), seconds(at - before), x, end - x))
        before = at
    return steps


def _last(row: Usage, trace: Trace) -> tuple[str | Promise, str]:
    """What it was at when it ended."""
    if row.instance and row.first_token_ms is not None:
        return ANSWERED if row.status == "ok" else BROKEN, "answered"
    if row.instance:
        return ENDED, "silent"
    return (WAITED, "waited") if trace.admitted is not None or row.queue_ms else (CHECKED, "checked")


def _marks(row: Usage, trace: Trace) -> list[tuple[str | Promise, str, int]]:
    """Name and end of each stretch, in order."""
    marks: list[tuple[str | Promise, str, int | None]] = [(CHECKED, "checked", trace.admitted)]
    # A row without a trace knows how long it waited, and not since when.
    placed = trace.placed if trace.placed is not None else (row.queue_ms or None)
    marks.append((RETRIED if trace.lost else WAITED, "waited", placed))
    marks.append((PREPARED, "prepared", trace.asked))
    if row.first_token_ms is not None:
        marks.append((SILENT, "silent", (trace.admitted or 0) + row.first_token_ms))
    last, kind = _last(row, trace)
    # What is not known makes no stretch: the one before it lasts until the next that is.
    known = [(name, kind, at) for name, kind, at in marks if at is not None]
    return [*known, (last, kind, row.total_ms)]
