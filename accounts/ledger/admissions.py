"""The books of admitted turns: which of them run, and how many began in each hour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec
from django.db import connection

from accounts.ledger.hours import hour_at
from accounts.ledger.row import Opening, UsageRow
from accounts.models import OpenTurn, Usage
from gateway_project.lib.database.many_values import select

ADD: Final = (
    "INSERT INTO accounts_admittedhour (hour, admitted, unopened) VALUES (%s, %s, %s) ON CONFLICT (hour) DO UPDATE SET "
    "admitted = accounts_admittedhour.admitted + excluded.admitted, "
    "unopened = accounts_admittedhour.unopened + excluded.unopened"
)

_encode = msgspec.json.encode


def book(openings: Mapping[str, Opening], turns: Iterable[UsageRow], filed: Collection[str]) -> None:
    """Count what a batch opens, and close what it ends. Only within `hours.writing`.

    `turns` are the rows it has inserted, and those that come behind one of a process that knew of no admission; `filed`
    are the ids whose rows were there before. Each turn counts once, whichever comes first and however often: by its
    opening, or by its row where the opening was lost.
    """
    closed = {turn.request_id: turn for turn in turns if turn.admitted}
    if not openings and not closed:
        return
    known = {id_ for (id_,) in select("request_id", "accounts_openturn", "request_id", openings.keys() | closed.keys())}
    done = set(filed) - closed.keys()
    begun = {id_: each for id_, each in openings.items() if id_ not in known and id_ not in done}
    unopened = [turn for id_, turn in closed.items() if id_ not in known and id_ not in openings]
    # What ended in the same batch is never stored. So an opening that came with its own row, and names no process, is
    # not.
    if running := [_open_turn(each) for id_, each in begun.items() if id_ not in closed]:
        OpenTurn.objects.bulk_create(running)
    if ended := known & closed.keys():
        OpenTurn.objects.filter(pk__in=ended).delete()
    if told := closed.keys() & filed:
        Usage.objects.filter(request_id__in=told).update(admitted=True)
    _add([each.row.started_at for each in begun.values()], [turn.started_at for turn in unopened])


def started_at(opening: Opening) -> datetime:
    return datetime.fromtimestamp(opening.row.started_at, UTC)


def _open_turn(opening: Opening) -> OpenTurn:
    row = msgspec.structs.replace(opening.row, status="open")
    return OpenTurn(
        request_id=row.request_id,
        run=opening.opened_by,
        started_at=started_at(opening),
        row=_encode(row).decode(),
    )


def _add(opened: list[float], unopened: list[float]) -> None:
    late = Counter(map(hour_at, unopened))
    admitted = Counter(map(hour_at, opened)) + late
    if admitted:
        adapt = connection.ops.adapt_datetimefield_value
        # One by one: mostly it is one hour, as `UsageDay.drop` says of days.
        with connection.cursor() as cursor:
            for hour, count in admitted.items():
                cursor.execute(ADD, [adapt(hour), count, late[hour]])
