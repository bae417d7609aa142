"""The backend itself, in the module that Django imports."""

from __future__ import annotations

import sqlite3
from typing import Any

from django.utils.functional import cached_property
from django_prometheus.db.backends.sqlite3 import base
from django_prometheus.db.common import ExportingCursorWrapper

from gateway_project.lib.database.database_file import FileId, file_id


class Operations(base.DatabaseWrapper.ops_class):  # type: ignore[misc]  # it has no types
    """Numbers are refused here that PostgreSQL cannot hold: what is stored can be moved there."""

    def integer_field_range(self, internal_type: str) -> tuple[int, int]:
        # Those of all other databases. SQLite would take 64 bits in every column, and so would forms and the REST API.
        bounds: tuple[int, int] = self.integer_field_ranges[internal_type]
        return bounds


class DatabaseWrapper(base.DatabaseWrapper):  # type: ignore[misc]  # it has no types
    """Django sets a connection up after it has opened it, and forgets it when that fails, as on a full disk."""

    ops_class = Operations
    file_id: FileId | None = None
    """Of the file when it was opened."""

    @cached_property
    def _cursor_class(self) -> Any:
        return ExportingCursorWrapper(self.CURSOR_CLASS, self.alias, self.vendor)

    def create_cursor(self, name: str | None = None) -> Any:
        """As django_prometheus does, which makes a class for each cursor: that takes longer than a short query."""
        return self.connection.cursor(factory=self._cursor_class)

    def get_new_connection(self, conn_params: dict[str, Any]) -> sqlite3.Connection:
        """A connection, or none: what is not closed stays open until it is collected, which may take hours."""
        opened: list[sqlite3.Connection] = []

        def factory(*args: Any, **kwargs: Any) -> sqlite3.Connection:
            opened.append(sqlite3.Connection(*args, **kwargs))
            return opened[0]

        try:
            connection: sqlite3.Connection = super().get_new_connection({**conn_params, "factory": factory})
        except Exception:
            # The set-up failed after opening, so Django never saw this connection and will not close it.
            for each in opened:
                each.close()
            raise
        self.file_id = file_id(self)
        return connection
