"""What Celery and the admin console do to the store of this installation."""

from __future__ import annotations

import time
from collections.abc import Iterable

import redis
from celery import shared_task
from django.conf import settings

from gateway_project.lib import database_state as database
from gateway_project.lib.redis_client import AWAY, connect
from sessions_store import operators
from sessions_store.models import Entry


@shared_task(name="sessions_store.clean", throws=AWAY)
def clean() -> int:
    """Take out what expired, from the index in Redis and from the mirror; how many left the index."""
    with connect(settings.REDIS_URL) as client:
        gone = operators.clean(client, now=time.time(), ttl=settings.SESSIONS_STORE_TTL)
        with database.doing_without():
            _mirror(client)
    return gone


def refresh() -> None:
    """Bring the mirror up to date. Raise redis.RedisError."""
    with connect(settings.REDIS_URL) as client:
        _mirror(client)


def forget(entries: Iterable[Entry]) -> int:
    """Give up these sessions, at once and in every process; how many were still there. Raise redis.RedisError."""
    sessions = [entry.session_id for entry in entries]
    with connect(settings.REDIS_URL) as client:
        forgotten = operators.forget(client, sessions, ttl=settings.SESSIONS_STORE_TTL)
    Entry.objects.filter(pk__in=sessions).delete()
    return forgotten


def _mirror(client: redis.Redis) -> None:
    found = operators.entries(client, now=time.time(), limit=settings.SESSIONS_STORE_MAX)
    Entry.objects.mirror(found)
