"""What Celery does for the bridge: it knows instances by their heartbeats and touches none of them."""

from __future__ import annotations

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from bridge.fleet import heartbeats
from gateway_project.lib import database_state as database
from gateway_project.lib.redis_client import AWAY, connect


@shared_task(name="bridge.check_instances", throws=AWAY)
def check_instances() -> None:
    """Bring the instances in the database up to date. Raise redis.RedisError."""
    with connect(settings.REDIS_URL) as client:
        found = heartbeats.heartbeats(client)
    with database.doing_without():
        heartbeats.record(found, timezone.now())
