"""Sums into their table: added to those that are stored, many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from django.db import connection, models

AT_ONCE: Final = 2_000
"""In one statement of PostgreSQL, so that its one value stays small."""
TIME: Final = "timestamptz"

_encode = msgspec.json.Encoder().encode


class Adding:
    """The statements for a table with a digest of the names of each row, those names, and its sums."""

    def __init__(self, model: type[models.Model], names: Sequence[str], sums: Sequence[str]) -> None:
        table, columns = model._meta.db_table, ("digest", *names, *sums)
        self._head, self._sums = ("digest", *names), tuple(sums)
        # Django's own upsert replaces values and cannot add to them.
        end = "ON CONFLICT (digest) DO UPDATE SET " + ", ".join(
            f"{name} = {table}.{name} + excluded.{name}" for name in sums
        )
        insert = f"INSERT INTO {table} ({', '.join(columns)})"
        self._one: Final = f"{insert} VALUES (?{', ?' * (len(columns) - 1)}) {end}"
        # Of a sum that is 0 nothing is said: most buckets of histograms are.
        values = ", ".join([*self._head, *(f"COALESCE({name}, 0)" for name in sums)])
        kinds = {name: _type(model, name) for name in columns}
        self._at = list(kinds.values()).index(TIME)
        types = ", ".join(f"{name} {kind}" for name, kind in kinds.items())
        source = f"json_to_recordset(%s::json) AS added ({types})"
        self._many: Final = f"{insert} SELECT {values} FROM {source} {end}"  # noqa: S608 - names of ours

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Add rows of different digests, each with its digest, its names, of which one is a time, and its sums.

        Only within a transaction.
        """
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                # The digests differ: PostgreSQL refuses a statement that would change one row twice.
                for start in range(0, len(rows), AT_ONCE):
                    # As one value: to write 60 for each row into the statement takes longer than all else.
                    cursor.execute(
                        self._many, [_encode(list(map(self._record, rows[start : start + AT_ONCE]))).decode()]
                    )
        elif rows:
            # Past the ORM a time has to be made what SQLite's column holds.
            adapt = connection.ops.adapt_datetimefield_value
            at = self._at
            # Past Django's cursor, too, which looks for each %s of the statement.
            with connection.wrap_database_errors:
                connection.connection.executemany(
                    self._one, [(*row[:at], adapt(row[at]), *row[at + 1 :]) for row in rows]
                )

    def _record(self, row: tuple[Any, ...]) -> dict[str, Any]:
        sums = zip(self._sums, row[len(self._head) :], strict=True)
        return dict(zip(self._head, row, strict=False)) | {name: value for name, value in sums if value}


def _type(model: type[models.Model], name: str) -> str:
    field = model._meta.get_field(name)
    if isinstance(field, models.CharField):
        return "text"
    return TIME if isinstance(field, models.DateTimeField) else "bigint"
