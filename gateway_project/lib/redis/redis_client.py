"""A blocking Redis client for tasks, pages and commands. One try within a deadline: a dead server costs little."""

from __future__ import annotations

from typing import Any

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from gateway_project.lib import degraded

WAIT_SEC = 1.0
AWAY_SEC = 0.2
AWAY = (redis.RedisError,)
"""What a task may raise while Redis is away: the degraded mode reports it, so no task logs a trace."""


def connect(url: str, wait: float | None = None) -> redis.Redis:
    """
    A client that waits at most so many seconds, for a connection and for each answer. The caller's to close.

    By default it waits a second, and while Redis is away for this process, as long as the link does.
    """
    if wait is None:
        # A page may ask Redis several times; with a full second for each it would be slow for a whole outage.
        wait = AWAY_SEC if degraded.is_on("redis") else WAIT_SEC
    # By default redis-py tries again, with pauses: that would multiply the deadline.
    return redis.Redis.from_url(url, **_options(wait), retry=Retry(NoBackoff(), 0))


def connect_async(url: str, wait: float) -> redis.asyncio.Redis:
    """The same for a loop; what subscribes needs it, all else goes over a RedisLink."""
    retry = redis.asyncio.retry.Retry(NoBackoff(), 0)
    return redis.asyncio.Redis.from_url(url, **_options(wait), retry=retry)


def _options(wait: float) -> dict[str, Any]:
    deadlines = {"socket_timeout": wait, "socket_connect_timeout": wait, "retry_on_timeout": False}
    # By default each connection first tells the server the library's name and version: two questions more.
    return {**deadlines, "driver_info": None}
