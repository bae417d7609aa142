"""The database connections of one process: bounded, reused, and checked before the next use."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

import psycopg
from psycopg.pq import TransactionStatus

from gateway_project.lib.database import database_state as database
from gateway_project.postgresql.bounded import BoundedConnection, dial

MOST = 8
PLACE_SEC = 3.0  # how long to wait for one of those
DIAL_SEC = 3.0
IDLE_SEC = 300.0
FRESH_SEC = 5.0  # one that was used so lately is taken as it is, when nothing has come from the server
CHECK_SEC = 0.4


class ConnectionPool:
    """What Django takes for its pool. Unlike psycopg's it has no threads, opens nothing ahead and never backs off."""

    def __init__(self, connect: Callable[[], BoundedConnection]) -> None:
        self._connect = connect
        self._places = threading.BoundedSemaphore(MOST)
        self._lock = threading.Lock()
        self._idle: list[tuple[float, BoundedConnection]] = []
        self._holding: set[BoundedConnection] = set()

    def open(self) -> None:
        """Nothing has to be."""

    def getconn(self) -> BoundedConnection:
        """A connection that works. Raise psycopg.OperationalError."""
        # Those that go ahead are few and bounded elsewhere: the threads that read keys and routes.
        has_place = not database.goes_ahead()
        if has_place and not self._places.acquire(timeout=database.seconds_left(PLACE_SEC)):
            raise psycopg.OperationalError(f"all {MOST} connections of this process are in use")
        try:
            connection = self._take_idle() or dial(self._connect, database.seconds_left(DIAL_SEC))
        # Also for a cancellation or an interrupt: a lost place would be lost until the process ends.
        except BaseException:
            if has_place:
                self._places.release()
            raise
        connection._pool = self  # type: ignore[assignment]  # Django gives it back to whom this names
        if has_place:
            self._holding.add(connection)
        return connection

    def putconn(self, connection: BoundedConnection) -> None:
        """Take a connection back, and keep it if it can be used again."""
        if connection in self._holding:
            self._holding.discard(connection)
            self._places.release()
        # The rest is closed instead of tested one by one: each dead one would cost its next user a deadline.
        if connection.closed or connection.broken:
            self.close()  # the others went to the same server
        # Only one that is in no transaction: the next user must find nothing of this one's.
        elif connection.info.transaction_status is TransactionStatus.IDLE:
            self._put_idle(connection)
        else:
            _close(connection)

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            _close(connection)

    def _put_idle(self, connection: BoundedConnection) -> None:
        now = time.monotonic()
        with self._lock:
            idle = [*self._idle, (now, connection)]
            self._idle = [each for each in idle[-MOST:] if now - each[0] <= IDLE_SEC]
            gone = [each for each in idle if each not in self._idle]
        for _, each in gone:
            _close(each)

    def _take_idle(self) -> BoundedConnection | None:
        """The one that was used last, if it works: else none of them does."""
        with self._lock:
            if not self._idle:
                return None
            # The last one used is the likeliest to live, and the others grow old and are closed.
            since, connection = self._idle.pop()
        if self._works(connection, since):
            return connection
        _close(connection)
        self.close()
        return None

    def _works(self, connection: BoundedConnection, since: float) -> bool:
        if connection.closed or not connection.is_silent:
            return False
        age = time.monotonic() - since
        if age <= FRESH_SEC:
            return True
        if age > IDLE_SEC:
            return False
        try:
            with database.within(database.seconds_left(CHECK_SEC)):
                # An empty query: one round trip, and the server plans nothing.
                connection.execute("")
        except psycopg.Error:
            return False
        return True


def _close(connection: BoundedConnection) -> None:
    with suppress(psycopg.Error):
        connection.close()
