"""A filter by hundreds of texts: as one value of the statement, instead of one for each."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django.db import connection
from django.db.models.expressions import RawSQL


def any_of(texts: Iterable[str]) -> RawSQL:
    """What stands behind `__in`. Django takes 0.2 µs a text apart, and SQLite takes 1,000 in a statement of some."""
    values, given = _as_rows(texts)
    return RawSQL(values, [given])  # noqa: S611 - our own two texts


def select(columns: str, table: str, column: str, texts: Iterable[str]) -> list[tuple[Any, ...]]:
    """The rows whose `column` has one of these texts. Values are as the driver gives them.

    Past Django's queries: to build one takes as long as to file some ten rows, and each batch of rows has several.
    """
    if not (texts := list(texts)):
        return []
    values, given = _as_rows(texts)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM {table} WHERE {column} IN ({values})", [given])  # noqa: S608 - of ours
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def _as_rows(texts: Iterable[str]) -> tuple[str, Any]:
    """What selects these texts, and its one parameter."""
    if connection.vendor == "postgresql":
        return "SELECT unnest(%s::text[])", list(texts)
    return "SELECT value FROM json_each(%s)", json.dumps(list(texts))
