"""The ledger for tasks and pages. Blocking; raise redis.RedisError."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accounts.ledger import filing
from gateway_project.lib.database import database_state as database
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_client import connect


def flush(redis_url: str, spool: Path) -> int:
    """File the rows that wait in Redis and in the spool; how many there were. Without a database they stay there."""
    with connect(redis_url, filing.REDIS_WAIT_SEC) as client:
        try:
            return filing.flush(client, spool)
        except database.AWAY as exc:
            database.failed(exc)
            # Not an error of the task: the mode "database" says it, and rows stay in Redis for the next run.
            return 0


def waiting_since(redis_url: str) -> float | None:
    """Since when the oldest row waits to be filed, unix seconds; None when none does."""
    with connect(redis_url) as client:
        return filing.oldest_waiting(client)


def backlog(redis_url: str) -> int:
    """The number of rows, and beginnings of turns, in Redis that are still to be filed. Raise redis.RedisError."""
    with connect(redis_url) as client:
        waiting: Any = client.xlen(redis_keys.USAGE)
    return int(waiting)
