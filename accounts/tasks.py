"""What Celery does for this app. Every task is safe to run twice and at the same time."""

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from accounts.content import retention
from accounts.ledger import days, prune, services
from accounts.models import IdempotentRequest
from gateway_project.lib.database import database_state as database
from gateway_project.lib.redis.redis_client import AWAY

PRUNE_SEC = 60.0  # a task may take 100
CONTENT_SEC = 20.0
DAYS_SEC = 60.0


@shared_task(name="accounts.flush_usage", ignore_result=True, throws=AWAY)
def flush_usage() -> int:
    """File the turns that wait in Redis and in the spool; how many there were. The worker does so by itself as well."""
    return services.flush(settings.REDIS_URL, settings.SPOOL_DIR)


@shared_task(name="accounts.prune_usage", ignore_result=True)
def prune_usage() -> int:
    """Delete usage and contents that are older than their retention; how many rows. The rest goes the next time."""
    # Each has a time of its own, so that many old rows do not keep old contents.
    with database.doing_without():
        retention.prune(retention.kept_since(timezone.now(), settings.CONTENT_RETENTION_DAYS), within=CONTENT_SEC)
        rows, _ = prune.prune(prune.oldest_kept(timezone.now(), settings.USAGE_RETENTION_DAYS), within=PRUNE_SEC)
        return rows
    return 0


@shared_task(name="accounts.sum_days", ignore_result=True)
def sum_days() -> int:
    """Make the sums of days that are over; how many. The rest goes the next time."""
    with database.doing_without():
        return days.make_missing(timezone.now(), within=DAYS_SEC)
    return 0


@shared_task(name="accounts.prune_answers", ignore_result=True)
def prune_answers() -> int:
    """Delete answers of the API that were kept for a day; some of them hold a secret, encrypted."""
    with database.doing_without():
        return IdempotentRequest.prune()
    return 0
