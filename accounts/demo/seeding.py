"""Writes the demonstration into the database: teams, keys, usage rows and their hours."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final

from django.db import transaction

from accounts.demo.cast import TEAMS, ZONES, keys_of, team_count
from accounts.demo.expected import Expected
from accounts.demo.turns import DAYS, FIELDS, turns
from accounts.ledger import days
from accounts.ledger.hours import HourSums, hour_of, writing
from accounts.ledger.inserts import insert
from accounts.ledger.row import UsageRow
from accounts.models import ApiKey, Team, Usage

COLUMNS: Final = tuple(name for name in FIELDS if name not in ("key", "started_at"))
BATCH: Final = 5_000
"""Rows in a transaction, and those of the same hour."""

Uses = dict[int, tuple[datetime, datetime, str]]
"""When a key was first used, and last, and from where that was."""


class Refused(Exception):
    """Why nothing was written."""


@transaction.atomic
def make_keys(seed: int, rows: int, end: datetime) -> list[ApiKey]:
    """The keys in the order of the cast, with their teams. Nobody knows their secrets. Raise Refused."""
    cast = keys_of(seed, rows)
    teams = [
        Team.objects.get_or_create(name=name, defaults={"time_zone": ZONES[number % len(ZONES)]})[0]
        for number, name in enumerate(TEAMS[: team_count(len(cast))])
    ]
    if taken := ApiKey.objects.filter(revoked_at=None, name__in=[key.name for key in cast]).first():
        raise Refused(f"there is a key {taken.name!r} already")
    made = end - timedelta(days=DAYS + 30)
    return ApiKey.objects.bulk_create(
        [
            ApiKey(
                name=key.name,
                team=None if key.team is None else teams[key.team],
                hint=f"lgw_demo{number:04}",
                # Made of the seed and no HMAC of anything: no secret has this digest.
                digest=hashlib.sha256(f"demo {seed} {number}".encode()).hexdigest(),
                created_at=made + timedelta(minutes=number),
                rpm=60 if number % 3 else 0,
                expires_at=end + timedelta(days=9) if number % 17 == 3 else None,
                revoked_at=end - timedelta(days=70) if number % 23 == 11 and not key.weight else None,
            )
            for number, key in enumerate(cast)
        ]
    )


def write(seed: int, rows: int, end: datetime, expected: Expected | None = None) -> int:
    """Write all of it; return the number of keys. In batches, so that the gateway can file usage in between.

    Raise Refused when this seed has been written already.
    """
    # The seed stands in the ids (`turns`), and the eight zeros behind it in none of real turns.
    if Usage.objects.filter(request_id__startswith=f"req_{seed:08x}{0:08x}").exists():
        raise Refused(f"seed {seed} is in the database already")
    keys = make_keys(seed, rows, end)
    uses: Uses = {}
    for batch in _batches(turns(seed, rows, keys_of(seed, rows), end)):
        found = [_row(turn, keys[turn["key"]], expected) for turn in batch]
        _note_uses(uses, batch, keys)
        with writing():
            for start in range(0, len(found), BATCH):
                insert(found[start : start + BATCH])
            sums = HourSums()
            for row in found:
                sums.add(row)
            sums.write()
    days.make_missing(end)
    _mark_used(uses)
    return len(keys)


def _batches(made: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The turns by whole hours: what is added up of an hour is then written once."""
    batch: list[dict[str, Any]] = []
    for _, of_hour in groupby(made, key=lambda turn: hour_of(turn["started_at"])):
        batch.extend(of_hour)
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _row(turn: dict[str, Any], key: ApiKey, expected: Expected | None) -> UsageRow:
    if expected is not None:
        expected.add(turn, key.name, key.team.name if key.team else "")
    columns = {name: turn[name] for name in COLUMNS}
    return UsageRow(api_key_id=key.pk, team_id=key.team_id, started_at=turn["started_at"].timestamp(), **columns)


def _note_uses(uses: Uses, batch: list[dict[str, Any]], keys: list[ApiKey]) -> None:
    for turn in batch:
        key, at = keys[turn["key"]].pk, turn["started_at"]
        uses[key] = (uses[key][0] if key in uses else at, at, turn["client"])


@transaction.atomic
def _mark_used(uses: Uses) -> None:
    ApiKey.objects.mark_first_used({key: first for key, (first, _, _) in uses.items()})
    ApiKey.objects.all().mark_last_used({key: (last, client) for key, (_, last, client) in uses.items()})
