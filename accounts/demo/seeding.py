"""Writes the demonstration into the database: teams, keys, usage rows and their hours."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from operator import attrgetter
from types import SimpleNamespace
from typing import Any, Final

from django.db import connection, transaction

from accounts.demo.cast import TEAMS, ZONES, keys_of, team_count
from accounts.demo.expected import Expected
from accounts.demo.turns import DAYS, FIELDS, turns
from accounts.ledger import days
from accounts.ledger.hours import HourSums, writing
from accounts.models import ApiKey, Team, Usage

BATCH: Final = 5_000
COLUMNS: Final = ("api_key_id", "team_id", *(name for name in FIELDS if name not in ("key", "started_at")))
_values: Final = attrgetter(*COLUMNS)
_INSERT: Final = (
    f"INSERT INTO accounts_usage ({', '.join(COLUMNS)}, started_at) "  # noqa: S608 - names of ours
    f"VALUES (%s{', %s' * len(COLUMNS)})"
)


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
    if Usage.objects.filter(request_id__startswith=f"req_{seed & 0xFFFF:04x}{0:08x}").exists():
        raise Refused(f"seed {seed} is in the database already")
    keys = make_keys(seed, rows, end)
    made = turns(seed, rows, keys_of(seed, rows), end)
    uses: dict[int, list[Any]] = {}
    while batch := list(islice(made, BATCH)):
        with writing():
            sums = HourSums()
            found = list(_rows(batch, keys, expected))
            for row in found:
                sums.add(row)
                uses.setdefault(row.api_key_id, [row, row])[1] = row
            _insert(found)
            sums.write()
    days.make_missing(end)
    _mark_used(uses)
    return len(keys)


@transaction.atomic
def _mark_used(uses: Mapping[int, Sequence[Any]]) -> None:
    """When each key was used, by its first turn and its last."""
    ApiKey.objects.mark_first_used({pk: first.started_at for pk, (first, _) in uses.items()})
    ApiKey.objects.all().mark_last_used({pk: (last.started_at, last.client) for pk, (_, last) in uses.items()})


def _rows(batch: list[dict[str, Any]], keys: list[ApiKey], expected: Expected | None) -> Iterator[Any]:
    # No models: to make them and to save them takes most of the time of a million rows.
    for turn in batch:
        key = keys[turn.pop("key")]
        if expected is not None:
            expected.add(turn, key.name, key.team.name if key.team else "")
        yield SimpleNamespace(api_key_id=key.pk, team_id=key.team_id, **turn)


def _insert(rows: list[Any]) -> None:
    adapt = connection.ops.adapt_datetimefield_value
    with connection.cursor() as cursor:
        cursor.executemany(_INSERT, [(*_values(row), adapt(row.started_at)) for row in rows])
