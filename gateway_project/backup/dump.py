"""The rows of a database, as one moment has them, while everybody goes on writing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.db import connection, transaction

from gateway_project.backup.columns import KINDS, type_of
from gateway_project.backup.records import Table

AT_ONCE: Final = 1000


@contextmanager
def snapshot() -> Iterator[None]:
    """Within it all queries see the same moment, and nobody who writes waits for it."""
    if connection.vendor == "sqlite":
        # Not `atomic`, which takes the right to write; what is written meanwhile stays in the WAL.
        connection.ensure_connection()
        _run("BEGIN DEFERRED")
        try:
            yield
        finally:
            _run("ROLLBACK")
        return
    with transaction.atomic():
        _run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def table(model: Any) -> Table:
    """Its columns and the largest id that it has given. Only within a snapshot."""
    fields = model._meta.local_concrete_fields
    return Table(model._meta.db_table, [(each.column, type_of(each)) for each in fields], _sequence(model))


def rows(table: Table) -> Iterator[list[Any]]:
    """Only within a snapshot."""
    kinds = [KINDS[kind] for _, kind in table.columns]
    quoted = [connection.ops.quote_name(name) for name, _ in table.columns]
    columns = [kind.read.get(connection.vendor, "{}").format(each) for kind, each in zip(kinds, quoted, strict=True)]
    out = [(place, kind.out) for place, kind in enumerate(kinds) if kind.out]
    name = connection.ops.quote_name(table.name)
    # By the first column, which is the primary key: the rows of a restored table lie in the same order.
    statement = f"SELECT {', '.join(columns)} FROM {name} ORDER BY {quoted[0]}"  # noqa: S608 - names of our tables
    with connection.chunked_cursor() as cursor:
        cursor.execute(statement)
        while batch := cursor.fetchmany(AT_ONCE):
            yield from _portable(batch, out)


def _portable(batch: Iterable[Any], out: list[tuple[int, Callable[[Any], Any]]]) -> Iterator[list[Any]]:
    for each in batch:
        row = list(each)
        for place, convert in out:
            if row[place] is not None:
                row[place] = convert(row[place])
        yield row


def _sequence(model: Any) -> int | None:
    """Ids are given once: what an id meant in the audit log or in a usage row, no later row must mean."""
    field = model._meta.pk
    if not field.get_internal_type().endswith("AutoField"):
        return None
    name = model._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [name])
            found = cursor.fetchone()
            return int(found[0]) or None if found else None
        cursor.execute("SELECT pg_get_serial_sequence(%s, %s)", [connection.ops.quote_name(name), field.column])
        cursor.execute(f"SELECT last_value, is_called FROM {cursor.fetchone()[0]}")  # noqa: S608 - quoted by PostgreSQL
        last, is_called = cursor.fetchone()
        return int(last) if is_called else None


def _run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
