"""What Celery does for this app. Every task is safe to run twice and at the same time."""

from celery import shared_task
from django.conf import settings

from accounts.ledger import services
from gateway_project.lib.redis_client import AWAY


@shared_task(name="accounts.flush_usage", ignore_result=True, throws=AWAY)
def flush_usage() -> int:
    """File the turns that wait in Redis and in the spool; how many there were. The worker does so by itself as well."""
    return services.flush(settings.REDIS_URL, settings.SPOOL_DIR)
