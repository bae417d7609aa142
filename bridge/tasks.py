"""What Celery does for the bridge: it knows instances by their heartbeats and touches none of them."""

from __future__ import annotations

from celery import shared_task
from django.conf import settings

from bridge.fleet import mirror
from gateway_project.lib.redis_client import AWAY


@shared_task(name="bridge.check_instances", throws=AWAY)
def check_instances() -> None:
    """Bring the instances in the database up to date. Raise redis.RedisError."""
    mirror.refresh(settings.REDIS_URL)
