"""Token counts that come later than their row: the row takes them, and the sums of its hour with it. Once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import connection

from accounts.ledger.hours import HourSums, hour_of
from accounts.ledger.row import Amendment, UsageRow
from accounts.models import Usage, WaitingAmendment
from gateway_project.lib.database.many_values import any_of
from gateway_project.lib.token_sources import UPSTREAM

KEPT: Final = timedelta(hours=1)
"""How long one waits for its row, which may lie in a spool file while this came through Redis."""
COUNT: Final = (
    "INSERT INTO accounts_admittedhour (hour, admitted, unopened, unmatched) VALUES (%s, 0, 0, %s) "
    "ON CONFLICT (hour) DO UPDATE SET unmatched = accounts_admittedhour.unmatched + excluded.unmatched"
)

Amendments = dict[str, Amendment]
"""By request id."""


def with_waiting(amendments: Amendments, ids: Iterable[str]) -> Amendments:
    """These, and those that have waited for the rows of these ids: they wait no more."""
    with connection.cursor() as cursor:
        # Mostly nothing waits, and this is cheaper than to look for each of many rows.
        cursor.execute("SELECT 1 FROM accounts_waitingamendment LIMIT 1")
        if cursor.fetchone() is None:
            return amendments
    # Also for those that came now, should one wait already: there is one of a turn, and `_wait` may store it anew.
    waiting = WaitingAmendment.objects.filter(pk__in=any_of([*ids, *amendments]))
    found = {
        each.request_id: Amendment(
            each.request_id, each.started_at.timestamp(), each.prompt_tokens, each.completion_tokens
        )
        for each in waiting
    }
    if found:
        WaitingAmendment.objects.filter(pk__in=found).delete()
    # Of two for one turn the one that came now counts.
    return found | amendments


def into_rows(rows: Iterable[UsageRow], late: Amendments) -> None:
    """Rows that are still to be filed are filed as amended."""
    for row in rows:
        amendment = late.get(row.request_id)
        if amendment is not None and row.usage_source != UPSTREAM:
            row.prompt_tokens, row.completion_tokens = amendment.prompt_tokens, amendment.completion_tokens
            row.usage_source = UPSTREAM


def amend(late: Amendments, done: set[str]) -> None:
    """Amend rows that were filed before, `done`; the others wait for theirs. Only within `hours.writing`."""
    # A row whose tokens are the service's own has been amended already, or needs none.
    turns = list(Usage.objects.filter(request_id__in=late.keys() & done).exclude(usage_source=UPSTREAM))
    before, after = HourSums(), HourSums()
    for turn in turns:
        before.add(turn)
        amendment = late[turn.request_id]
        turn.prompt_tokens, turn.completion_tokens = amendment.prompt_tokens, amendment.completion_tokens
        turn.usage_source = UPSTREAM
        after.add(turn)
    if turns:
        Usage.objects.bulk_update(turns, ["prompt_tokens", "completion_tokens", "usage_source"])
        after.write()
        before.take_away()
    if early := [late[id_] for id_ in late.keys() - done]:
        _wait(early)


def _wait(early: list[Amendment]) -> None:
    now = datetime.now(UTC)
    waiting = [
        WaitingAmendment(
            request_id=each.amends,
            started_at=datetime.fromtimestamp(each.started_at, UTC),
            since=now,
            prompt_tokens=each.prompt_tokens,
            completion_tokens=each.completion_tokens,
        )
        for each in early
    ]
    WaitingAmendment.objects.bulk_create(waiting)
    # Here, and not by a schedule: the table only grows here.
    drop_unmatched(now)


def drop_unmatched(now: datetime) -> int:
    """Count and forget those whose row has not come; return how many. Only within `hours.writing`."""
    old = WaitingAmendment.objects.filter(since__lt=now - KEPT)
    starts = dict(old.values_list("pk", "started_at"))
    if starts:
        WaitingAmendment.objects.filter(pk__in=starts).delete()
        _count(Counter(map(hour_of, starts.values())))
    return len(starts)


def _count(unmatched: Mapping[datetime, int]) -> None:
    adapt = connection.ops.adapt_datetimefield_value
    with connection.cursor() as cursor:
        cursor.executemany(COUNT, [(adapt(hour), count) for hour, count in unmatched.items()])
