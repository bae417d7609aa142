"""Rows into their table, all of a batch at once, without a model instance for each: that cost as much as the turn."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from itertools import chain
from math import modf
from typing import Any, Final, get_type_hints

import msgspec
from django.db import connection

from accounts.ledger.row import UsageRow
from accounts.models import Usage

TABLE: Final = Usage._meta.db_table
NAMES: Final = UsageRow.__struct_fields__
"""Of the columns, too; a test compares them."""
AT_ONCE: Final = 250
"""Rows in one statement of SQLite. With 34 in it each took a quarter longer, with one a third. Some builds take 999
values at most.
"""
_AT: Final = NAMES.index("started_at")
_INSERT: Final = f"INSERT INTO {TABLE} ({', '.join(NAMES)}) "
_ROW: Final = f"(?{', ?' * (len(NAMES) - 1)})"
_ONE: Final = f"{_INSERT}VALUES {_ROW}"
_TYPES: Final = {str: "text", int: "bigint", int | None: "bigint", float: "double precision", bool: "boolean"}


def _column(field: msgspec.structs.FieldInfo) -> str:
    """Its value in PostgreSQL: what a row does not say is its default."""
    match field.default:
        case str(text):
            return f"COALESCE({field.name}, '{text}')"
        case bool() | int() as number:
            return f"COALESCE({field.name}, {number})"
    return f"to_timestamp({field.name})" if field.name == "started_at" else field.name


def _records() -> str:
    fields, hints = msgspec.structs.fields(UsageRow), get_type_hints(UsageRow)
    values = ", ".join(map(_column, fields))
    types = ", ".join(f"{each.name} {_TYPES[hints[each.name]]}" for each in fields)
    return f"{_INSERT}SELECT {values} FROM json_to_recordset(%s::json) AS turn ({types})"  # noqa: S608 - names of ours


_RECORDS: Final = _records()
_encode = msgspec.json.Encoder().encode


def insert(rows: Sequence[UsageRow]) -> None:
    """Insert the rows, which are as their columns can hold them. Raise DataError or IntegrityError, and insert none.

    Only within a transaction.
    """
    if not rows:
        return
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            # As one value: to write those of each row into the statement takes longer than all else.
            cursor.execute(_RECORDS, [_encode(rows).decode()])
    else:
        _insert_into_sqlite([_values(row) for row in rows])


def _insert_into_sqlite(rows: list[list[Any]]) -> None:
    # Past Django's cursor, which looks for each %s of the statement: for many rows that takes longer than to insert.
    sqlite = connection.connection
    at_once = min(AT_ONCE, sqlite.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) // len(NAMES))
    whole = len(rows) - len(rows) % at_once
    with connection.wrap_database_errors:
        for start in range(0, whole, at_once):
            sqlite.execute(_some(at_once), list(chain.from_iterable(rows[start : start + at_once])))
        sqlite.executemany(_ONE, rows[whole:])


@cache
def _some(rows: int) -> str:
    return f"{_INSERT}VALUES {', '.join([_ROW] * rows)}"


def _values(row: UsageRow) -> list[Any]:
    values = [*msgspec.structs.astuple(row)]
    values[_AT] = text_of(values[_AT])
    return values


def text_of(at: float) -> str:
    """A time as Django writes it into SQLite: without the zone, which is UTC."""
    fraction, second = modf(at)
    # As datetime rounds: it may be the next second.
    micros = round(fraction * 1_000_000)
    if micros == 1_000_000:
        return _second(int(second) + 1)
    return f"{_second(int(second))}.{micros:06d}" if micros else _second(int(second))


# Rows of a batch share theirs, and a date takes longer to write than the rest of a row.
@lru_cache(64)
def _second(at: int) -> str:
    return str(datetime.fromtimestamp(at, UTC))[:-6]
