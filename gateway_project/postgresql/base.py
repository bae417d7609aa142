"""The backend itself, in the module that Django imports."""

from __future__ import annotations

from typing import Any

from django_prometheus.db.backends.postgresql import base

from gateway_project.postgresql.bounded import BoundedConnection
from gateway_project.postgresql.connection_pool import ConnectionPool

SET = "SELECT set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false)"


class DatabaseWrapper(base.DatabaseWrapper):  # type: ignore[misc]  # it has no types
    """Options of ours: `statement_sec` and `lock_sec`, the longest waits for a statement and for a lock."""

    @property
    def pool(self) -> ConnectionPool | None:
        """The connections of this process; None for what Django does beside the database itself."""
        if self.settings_dict["NAME"] is None:
            return None
        connection_pool: ConnectionPool | None = self._connection_pools.get(self.alias)
        # setdefault is atomic: two threads that come first both get the same pool.
        return connection_pool or self._connection_pools.setdefault(self.alias, ConnectionPool(self._connect))

    def get_connection_params(self) -> dict[str, Any]:
        params: dict[str, Any] = super().get_connection_params()
        # Ours, not libpq's, which refuses what it does not know.
        params.pop("statement_sec", None)
        params.pop("lock_sec", None)
        return params

    def _connect(self) -> BoundedConnection:
        connection = BoundedConnection.connect(**self.get_connection_params(), autocommit=True)
        options = self.settings_dict["OPTIONS"]
        connection.statement_sec, lock_sec = float(options["statement_sec"]), float(options["lock_sec"])
        # Not as options of the start: connection poolers refuse those.
        connection.execute(SET, [f"{connection.statement_sec * 1000:.0f}ms", f"{lock_sec * 1000:.0f}ms"])
        self._configure_connection(connection)
        return connection
