"""What Celery and the console do for this room. Every task is safe to run twice and at the same time."""

import redis
from celery import shared_task
from django.conf import settings

from accounts import usage


@shared_task(name="accounts.flush_usage", ignore_result=True)
def flush_usage() -> int:
    """File the turns that wait in Redis and in the spool; how many there were."""
    with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=5, socket_connect_timeout=2) as client:
        return usage.flush(client, settings.SPOOL_DIR)


def turns_wait_since() -> float | None:
    """Since when the oldest turn waits to be filed, unix seconds; None when none does. Raise redis.RedisError."""
    with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1) as client:
        return usage.oldest_waiting(client)
