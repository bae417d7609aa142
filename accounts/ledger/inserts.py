"""Rows into their table, all of a batch at once, without a model instance for each: that cost as much as the turn."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Final

import msgspec
from django.db import connection

from accounts.ledger.row import UsageRow
from accounts.models import Usage

TABLE: Final = Usage._meta.db_table
NAMES: Final = ("started_at", *(name for name in UsageRow.__struct_fields__ if name != "started_at"))
"""Of the columns, too; a test compares them."""
_INSERT: Final = f"INSERT INTO {TABLE} ({', '.join(NAMES)}) "
_VALUES: Final = f"{_INSERT} VALUES (%s{', %s' * (len(NAMES) - 1)})"
_RECORDS: Final = f"{_INSERT} SELECT {', '.join(NAMES)} FROM json_populate_recordset(NULL::{TABLE}, %s::json)"  # noqa: S608
_others = attrgetter(*NAMES[1:])


def insert(rows: Sequence[UsageRow]) -> None:
    """Insert the rows, which are as their columns can hold them. Raise DataError or IntegrityError, and insert none."""
    if not rows:
        return
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # As one value: to write 33 for each row into the statement takes longer than all else.
            cursor.execute(_RECORDS, [msgspec.json.encode([_record(row) for row in rows]).decode()])
        else:
            cursor.executemany(_VALUES, [(_moment(row.started_at), *_others(row)) for row in rows])


def _moment(at: float) -> str:
    # As Django writes times into SQLite: without the zone, which is UTC.
    return str(datetime.fromtimestamp(at, UTC))[:-6]


def _record(row: UsageRow) -> dict[str, Any]:
    return dict(zip(NAMES, (datetime.fromtimestamp(row.started_at, UTC), *_others(row)), strict=True))
