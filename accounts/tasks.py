"""What Celery and the console do for this room. Every task is safe to run twice and at the same time."""

from celery import shared_task
from django.conf import settings

from accounts.ledger import ledger as usage
from gateway_project.lib import database_state as database
from gateway_project.lib.redis_client import AWAY, connect


@shared_task(name="accounts.flush_usage", ignore_result=True, throws=AWAY)
def flush_usage() -> int:
    """File the turns that wait in Redis and in the spool; how many there were. The worker does so by itself as well."""
    with connect(settings.REDIS_URL, 5) as client:
        try:
            return usage.flush(client, settings.SPOOL_DIR)
        except database.AWAY as exc:  # the rows stay where they are
            database.failed(exc)
            return 0


def turns_wait_since() -> float | None:
    """Since when the oldest turn waits to be filed, unix seconds; None when none does. Raise redis.RedisError."""
    with connect(settings.REDIS_URL) as client:
        return usage.oldest_waiting(client)
