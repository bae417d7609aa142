"""Sessions for the console and Celery. Blocking; raise redis.RedisError."""

from __future__ import annotations

import time
from collections.abc import Iterable

from gateway_project.lib.database import database_state as database
from gateway_project.lib.database.many_values import any_of
from gateway_project.lib.redis.redis_client import connect
from sessions_store import inspect
from sessions_store.models import Entry, mirrored


def current(redis_url: str, limit: int) -> list[Entry]:
    """The sessions as they are now: the newest `limit` idle ones, and those in use."""
    with connect(redis_url) as client:
        return [mirrored(stored, state) for stored, state in inspect.entries(client, now=time.time(), limit=limit)]


def clean(redis_url: str, ttl: int, limit: int) -> int:
    """Remove what has expired, from the index in Redis and from the copy; return how many left the index."""
    with connect(redis_url) as client:
        gone = inspect.clean(client, now=time.time(), ttl=ttl)
        found = inspect.entries(client, now=time.time(), limit=limit)
    # Redis is cleaned already. Without the database only the copy is older.
    with database.doing_without():
        Entry.objects.mirror(found)
    return gone


def forget(redis_url: str, sessions: Iterable[str], ttl: int) -> int:
    """Give up these sessions, at once and in every process; return how many were still there."""
    sessions = list(sessions)
    with connect(redis_url) as client:
        forgotten = inspect.forget(client, sessions, ttl=ttl)
    # The copy last: without Redis nothing is forgotten, and the list must not say so.
    Entry.objects.filter(pk__in=any_of(sessions)).delete()
    return forgotten
