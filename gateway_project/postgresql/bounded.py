"""A connection to PostgreSQL on which nothing waits for ever, whatever became of the server or the way to it."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen

from gateway_project.lib.database import database_state as database

MOST_DIALLING = 16
_dialling = threading.BoundedSemaphore(MOST_DIALLING)


class BoundedConnection(psycopg.Connection[Any]):
    """Each wait ends after `statement_sec`, or when its thread's patience does; the connection is of no use then.

    The server's own time-outs do not help when it hangs, nor do TCP's when something still acknowledges.
    """

    statement_sec = 5.0

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        seconds = database.seconds_left(self.statement_sec)
        if timeout is not None and timeout < seconds:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, seconds)
        # Closed, for its answer may still come and would be taken for the one to the next query.
        except psycopg.errors._WaitTimeout:
            self.close()
            raise psycopg.OperationalError(f"no answer within {seconds:.3g} s") from None

    @property
    def is_silent(self) -> bool:
        """Nothing has come since the last answer; unrequested bytes, or an end, mean that the server stops."""
        watch = select.poll()
        watch.register(self.pgconn.socket, select.POLLIN)
        return not watch.poll(0)


def dial(connect: Callable[[], BoundedConnection], seconds: float) -> BoundedConnection:
    """
    A new connection. Raise psycopg.OperationalError when there is none in time.

    It is made in a thread of its own, for the resolver of names keeps no deadline.
    """
    # Threads that hang in the resolver cannot be ended; without this bound an outage would pile them up.
    if not _dialling.acquire(blocking=False):
        raise psycopg.OperationalError("earlier connections are still being made")
    made: Future[BoundedConnection] = Future()
    threading.Thread(target=_dial, args=(connect, made, seconds), name="database-dial", daemon=True).start()
    try:
        return made.result(seconds)
    except NotInTime:
        # The thread may still get a connection, which nobody would close.
        made.add_done_callback(_close_late)
        raise psycopg.OperationalError(f"no connection within {seconds:.3g} s") from None


def _dial(connect: Callable[[], BoundedConnection], made: Future[BoundedConnection], seconds: float) -> None:
    try:
        with database.within(seconds):
            made.set_result(connect())
    except BaseException as exc:  # noqa: BLE001 - whoever waits gets it
        made.set_exception(exc)
    finally:
        _dialling.release()


def _close_late(made: Future[BoundedConnection]) -> None:
    with suppress(psycopg.Error):
        made.result().close()
