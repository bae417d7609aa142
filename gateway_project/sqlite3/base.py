"""The backend itself, in the module that Django imports."""

from __future__ import annotations

import sqlite3
from typing import Any

from django_prometheus.db.backends.sqlite3 import base


class DatabaseWrapper(base.DatabaseWrapper):  # type: ignore[misc]  # it has no types
    """Django sets a connection up after it has opened it, and forgets it when that fails, as on a full disk."""

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
        return connection
