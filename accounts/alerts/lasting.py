"""Alerts about states: one begins when a state has lasted, and ends by itself when the state is over for as long.

One alert is about everything that is in the state: its facts are their names.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec
from django.db import IntegrityError, transaction

from accounts.alerts.notices import queue
from accounts.alerts.raising import MOST_FACTS
from accounts.alerts.words import KINDS, Kind
from accounts.models import Alert, AlertNotice, Observation

log = logging.getLogger(__name__)

MOST_MEMBERS: Final = 1_000
"""Names of one alert; what is beyond them is not counted."""


class Member(msgspec.Struct, frozen=True, array_like=True):
    """One thing that is in the state, or was a moment ago; times are Unix seconds."""

    since: float
    confirmed: bool
    """It has lasted long enough to be part of the alert."""
    over_since: float | None = None


Members = Mapping[str, Member]


def settle(before: Members, seen: Collection[str], now: float, kind: Kind) -> dict[str, Member]:
    """Which things are in the state, after a look that found those in `seen`. Pure."""
    after = {}
    # Those that are known first: where there are too many, MOST_MEMBERS keeps them, and what lasts goes on lasting.
    for name in [*before, *(name for name in sorted(seen) if name not in before)]:
        member = before.get(name) or Member(now, False)
        # What lies in the future is of a clock that was set back since, and would hold it up until that time comes.
        since = min(member.since, now)
        if name in seen:
            after[name] = Member(since, member.confirmed or now - since >= kind.begins_after)
        elif member.confirmed:
            over_since = min(member.over_since or now, now)
            if now - over_since < kind.ends_after:
                after[name] = Member(since, True, over_since)
        # What was over before it counted leaves nothing behind: it has to last from the beginning.
    return dict(list(after.items())[:MOST_MEMBERS])


def kept() -> frozenset[str]:
    """The kinds that something is known of: one that is not among them, and in whose state nothing is, can wait."""
    began = Alert.objects.filter(lasts=True, ended_at=None)
    kinds = (rows.order_by().values_list("kind", flat=True).distinct() for rows in (Observation.objects.all(), began))
    return frozenset(kind for each in kinds for kind in each)


def observe(kind: str, seen: Mapping[str, Collection[str]], now: datetime) -> None:
    """Take in what a look has found: what is in the state, by the subject of the alert. Safe to run at once."""
    try:
        with transaction.atomic():
            rows = {row.subject: row for row in Observation.objects.select_for_update().filter(kind=kind)}
            for subject in sorted(rows.keys() | seen.keys()):
                _look(rows.get(subject) or Observation(kind=kind, subject=subject), seen.get(subject, ()), now)
    except IntegrityError:  # another process was faster, and has written the same
        log.debug("the alert %s was looked after elsewhere", kind)


def _look(row: Observation, seen: Collection[str], now: datetime) -> None:
    before = msgspec.convert(row.members, dict[str, Member])
    after = settle(before, seen, now.timestamp(), KINDS[row.kind])
    if after != before:
        row.members = msgspec.to_builtins(after)
        if after:
            row.save()
        else:
            row.delete()
    confirmed = {name: member.since for name, member in after.items() if member.confirmed}
    alert = Alert.objects.filter(kind=row.kind, subject=row.subject, lasts=True, ended_at=None).first()
    if confirmed and alert is None:
        _begin(row, confirmed, now)
    elif confirmed and alert is not None:
        _go_on(alert, sorted(confirmed), sorted(name for name, each in before.items() if each.confirmed), now)
    elif alert is not None:
        _end(alert, now)


def _begin(row: Observation, confirmed: Mapping[str, float], now: datetime) -> None:
    names = sorted(confirmed)
    # When the state began, and not when it had lasted long enough.
    began = datetime.fromtimestamp(min(confirmed.values()), UTC)
    alert = Alert.objects.create(
        kind=row.kind, subject=row.subject, lasts=True, facts=names[:MOST_FACTS], count=len(names),
        began_at=began, latest_at=now,
    )  # fmt: skip
    queue(alert, AlertNotice.Occasion.BEGAN)
    log.warning("alert: %s %s: %s", row.kind, row.subject, ", ".join(names[:MOST_FACTS]))


def _go_on(alert: Alert, names: list[str], before: list[str], now: datetime) -> None:
    # The usual case: nothing is written as long as nothing changes.
    if names == before and alert.count == len(names):
        return
    alert.facts, alert.count, alert.latest_at = names[:MOST_FACTS], len(names), now
    changed = ["facts", "count", "latest_at"]
    if set(names) - set(before) and alert.acknowledged_at is not None:
        # Whoever acknowledged it did not know of these.
        alert.acknowledged_at, alert.acknowledged_by = None, ""
        changed += ["acknowledged_at", "acknowledged_by"]
        queue(alert, AlertNotice.Occasion.BEGAN)
    alert.save(update_fields=changed)


def _end(alert: Alert, now: datetime) -> None:
    alert.ended_at = alert.latest_at = now
    alert.save(update_fields=["ended_at", "latest_at"])
    queue(alert, AlertNotice.Occasion.ENDED)
    log.info("alert is over: %s %s", alert.kind, alert.subject)
