"""
Query sets over rows that are in no table: read from Redis, then filtered, ordered and joined by the database.

Some pages of the console list what lives in Redis. Their tables are copies, written by scheduled tasks for the time
when Redis is away; a page that copied before it showed would write at each GET. So a page passes its rows to the
database as JSON, in the place of the table.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import redis
from django.contrib import messages
from django.db.models import Model, QuerySet
from django.db.models.sql import Query
from django.db.models.sql.datastructures import BaseTable
from django.http import HttpRequest
from django.utils.translation import gettext


def redis_away(error: redis.RedisError) -> str:
    """The message of a page that cannot show the current state."""
    return gettext("Redis cannot be reached: %(error)s.") % {"error": error}


def query_set_of(model: type[Model], rows: Sequence[Model]) -> QuerySet[Any]:
    """These objects, saved or not, as a query set of their model."""
    query = _Query(model)
    query.rows = rows
    return QuerySet(model, query=query)


class LiveRows:
    """An admin page that shows `current_rows`; while Redis is away, the last copy in its table."""

    def current_rows(self) -> Sequence[Model]:
        """The rows as Redis has them now. Raise RedisError."""
        raise NotImplementedError

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """The admin calls it several times for one page; Redis is read once."""
        table: QuerySet[Any] = super().get_queryset(request)  # type: ignore[misc]  # of the page it is mixed into
        rows = self._rows(request)
        # In the order of the table's query set, which a new one does not have.
        return table if rows is None else query_set_of(table.model, rows).order_by(*table.query.order_by)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """With `is_copy`: an empty copy says nothing of what there is now."""
        page: Any = super().get_changelist_instance(request)  # type: ignore[misc]
        page.is_copy = self._rows(request) is None
        return page

    def _rows(self, request: HttpRequest) -> Sequence[Model] | None:
        # Cached on the request: the admin reads the list, its count and each filter in turn.
        cached: dict[type, Sequence[Model] | None] = request.__dict__.setdefault("live_rows", {})
        if type(self) not in cached:
            try:
                cached[type(self)] = self.current_rows()
            except redis.RedisError as exc:
                messages.error(request, " ".join([redis_away(exc), gettext("The list shows the last copy.")]))
                cached[type(self)] = None
        return cached[type(self)]


class _Query(Query):
    rows: Sequence[Model]

    @property
    def base_table_class(self) -> Any:  # type: ignore[override]  # Django calls it as a class
        return partial(_Table, self.rows)


class _Table(BaseTable):
    def __init__(self, rows: Sequence[Model], table_name: str, alias: str | None) -> None:
        super().__init__(table_name, alias)
        self._rows = rows

    def relabeled_clone(self, change_map: dict[str | None, str]) -> _Table:
        # Django copies a table when it joins or nests a query; the copy needs the rows too.
        return _Table(self._rows, self.table_name, change_map.get(self.table_alias, self.table_alias))

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        fields = compiler.query.get_meta().concrete_fields
        values = [
            # As Django would write the value into a column: dates and booleans differ between the databases.
            {field.column: field.get_db_prep_save(getattr(row, field.attname), connection) for field in fields}
            for row in self._rows
        ]
        quote, alias = connection.ops.quote_name, compiler.quote_name_unless_alias(self.table_alias)
        if connection.vendor == "postgresql":
            columns = ", ".join(f"{quote(field.column)} {field.db_type(connection)}" for field in fields)
            # The rows are one parameter, however many there are: no limit of parameters, and nothing to quote.
            table = f"jsonb_to_recordset(%s::jsonb) AS {alias}({columns})"
        else:
            columns = ", ".join(f"json_extract(value, '$.{field.column}') AS {quote(field.column)}" for field in fields)
            table = f"(SELECT {columns} FROM json_each(%s)) {alias}"  # noqa: S608 - names of our own columns
        return table, [json.dumps(values, default=str)]
