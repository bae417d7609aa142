"""What Celery does to the store of this installation."""

from __future__ import annotations

from celery import shared_task
from django.conf import settings

from gateway_project.lib.redis.redis_client import AWAY
from sessions_store import services


@shared_task(name="sessions_store.clean", throws=AWAY)
def clean() -> int:
    """Take out what expired; how many left the index. Raise redis.RedisError."""
    return services.clean(settings.REDIS_URL, settings.SESSIONS_STORE_TTL, settings.SESSIONS_STORE_MAX)
