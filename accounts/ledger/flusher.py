"""Files usage rows by the clock, in a thread: no message and no scheduler has to come through for it."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

import redis
from django.db import Error, connection
from redis import RedisError

from accounts.content import filing as contents
from accounts.ledger import filing
from accounts.ledger.auditor import Auditor
from accounts.ledger.orphans import Orphans, Signs
from gateway_project.lib import degraded, disk
from gateway_project.lib.database import database_state as database
from gateway_project.lib.database.database_file import reopen
from gateway_project.lib.redis.redis_client import connect

logger = logging.getLogger(__name__)

EVERY_SEC: Final = 2.0
RETENTION_DAYS: Final = 400
LAST_SEC: Final = 8.0
"""How long the end of the process may wait for the last flush."""


class Flusher:
    """Moves rows from Redis and the spool into the database until it is stopped.

    Reading and deleting work in a Redis that is full, so this is what makes room in it. What is away is logged once, as
    a degraded mode, and tried again; several at once do no harm.
    """

    def __init__(
        self,
        redis_url: str,
        spool: Path,
        every: float = EVERY_SEC,
        retention_days: int = RETENTION_DAYS,
        content_days: int = 0,
    ) -> None:
        self._url = redis_url
        self._spool = spool
        self._every = every
        self._content_days = content_days
        self._orphans = Orphans()
        self._auditor = Auditor(retention_days)
        self._stopping = threading.Event()
        # A daemon: a flush that hangs must not keep the interpreter from ending. Rows stay in Redis or in their file
        # then.
        self._thread = threading.Thread(target=self._run, name="usage-flusher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """File what waits now, then end. Waits LAST_SEC at most: a database that hangs must not keep the process."""
        self._stopping.set()
        self._thread.join(LAST_SEC)

    def _run(self) -> None:
        # At once: rows of before a restart wait already.
        self._flush()
        self._sign_of_life()
        while not self._stopping.wait(self._every):
            self._flush()
            self._sign_of_life()
            self._audit()
        # Once more after the stop, for rows that came during the last wait.
        self._flush()
        connection.close()

    def _sign_of_life(self) -> None:
        """Publish that this worker lives. One that does not get so far counts as dead."""
        # After the flush and in its thread: a flush that hangs must show as a worker that gives no sign.
        with suppress(Exception), connect(self._url) as client:  # whatever it is, it must not end the thread
            degraded.publish(client, degraded.WORKER)

    def _audit(self) -> None:
        """Nothing is lost when this fails, so it is no mode, and tried again in a minute."""
        if database.away():
            return
        works = False
        try:
            self._auditor.check()
            works = True
        except Exception as exc:  # noqa: BLE001 - an edge: whatever it is, usage is filed
            logger.warning("the ledger could not be checked: %s: %s", type(exc).__name__, exc)
        finally:
            _let_go(works=works)

    def _check_redis(self) -> None:
        """Rows in files are filed first, so this flush may have failed before it tried Redis."""
        with suppress(Exception), connect(self._url) as client:  # the same
            filing.oldest_waiting(client)
            degraded.end("redis")

    def _signs(self, client: redis.Redis) -> Signs:
        """Before the flush, as `Orphans.signs` says."""
        try:
            return self._orphans.signs(client)
        except RedisError:
            # Turns that are open are no reason to leave rows in their files: these need no Redis.
            filing.file_spool(self._spool)
            raise

    def _flush(self) -> None:
        works = False
        try:
            with connect(self._url, filing.REDIS_WAIT_SEC) as client:
                reopen(connection)
                signs = self._signs(client)
                filed = filing.flush(client, self._spool) + self._orphans.close(signs)
                # Last: no row waits for it.
                filed += contents.file(client, self._content_days)
            if database.away() and not filed:  # nothing has tried whether it is back
                filing.try_to_write()
        except RedisError as exc:
            degraded.begin("redis", str(exc))
        except Error as exc:
            database.failed(exc)
            self._check_redis()
        # Of the spool: a file that cannot be read or deleted.
        except OSError as exc:
            disk.fails("flush", exc)
        except Exception as exc:  # noqa: BLE001 - an edge: whatever it is, the next flush is tried
            # Not a trace for each: a bad row or a bug would come again every two seconds.
            degraded.begin("flush", f"{type(exc).__name__}: {exc}")
        else:
            disk.works("flush")
            if filed or database.away():  # else the database was not queried
                database.works()
            for part in ("redis", "flush"):
                degraded.end(part)
            works = True
        finally:
            _let_go(works=works)


def _let_go(*, works: bool) -> None:
    """Close the connection, for Django does so around requests only, and this thread has none.

    Not SQLite's, as long as all goes well: to open it costs as much as to file a hundred rows, and whoever closes it
    last copies its log into the file. PostgreSQL's goes back to where others take it from.
    """
    if not works or connection.vendor != "sqlite":
        connection.close()
