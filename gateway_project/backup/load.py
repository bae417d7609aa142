"""Rows of a backup into a database that has its tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.core.management.color import no_style
from django.db import connection, transaction

from gateway_project.backup.columns import KINDS
from gateway_project.backup.errors import BackupError
from gateway_project.backup.records import Table

AT_ONCE: Final = 1000
NO_VALUE: Final = (TypeError, ValueError, OverflowError)
"""What a conversion raises, or the database's driver before it asks the database."""


def clear(names: list[str]) -> None:
    """Delete what the migrations have put into these tables."""
    with connection.cursor() as cursor:
        for statement in connection.ops.sql_flush(no_style(), names, reset_sequences=True, allow_cascade=False):
            cursor.execute(statement)


class Loader:
    """Takes the rows of one table after the other."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._rows: list[list[Any]] = []
        into = [KINDS[kind].into.get(connection.vendor) for _, kind in table.columns]
        self._into: list[tuple[int, Callable[[Any], Any]]] = [
            (place, convert) for place, convert in enumerate(into) if convert
        ]
        quote = connection.ops.quote_name
        self._name = quote(table.name)
        self._columns = ", ".join(quote(name) for name, _ in table.columns)

    def add(self, row: list[Any]) -> None:
        """Raise BackupError, or what the database raises."""
        try:
            for place, convert in self._into:
                if row[place] is not None:
                    row[place] = convert(row[place])
            self._rows.append(row)
            if len(self._rows) >= AT_ONCE:
                self._flush()
        except NO_VALUE as exc:
            raise self._strange() from exc

    def end(self) -> None:
        """Raise BackupError, or what the database raises."""
        try:
            self._flush()
        except NO_VALUE as exc:
            raise self._strange() from exc
        if self._table.sequence:
            _set_sequence(self._table)

    def _strange(self) -> BackupError:
        return BackupError(f"The backup has a value that no row of {self._table.name} can have.")

    def _flush(self) -> None:
        if not self._rows:
            return
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":
                places = ", ".join(["%s"] * len(self._table.columns))
                insert = f"INSERT INTO {self._name} ({self._columns}) VALUES ({places})"  # noqa: S608 - quoted names
                with transaction.atomic():
                    cursor.executemany(insert, self._rows)
            else:
                self._copy(cursor)
        self._rows = []

    def _copy(self, cursor: Any) -> None:
        with connection.wrap_database_errors, cursor.copy(f"COPY {self._name} ({self._columns}) FROM STDIN") as copy:
            for row in self._rows:
                copy.write_row(row)


def _set_sequence(table: Table) -> None:
    """The next id is one that was never given."""
    column = table.columns[0][0]
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("DELETE FROM sqlite_sequence WHERE name = %s", [table.name])
            cursor.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)", [table.name, table.sequence])
            return
        sequence = "pg_get_serial_sequence(%s, %s)"
        quoted = connection.ops.quote_name(table.name)
        cursor.execute(f"SELECT setval({sequence}, %s)", [quoted, column, table.sequence])
