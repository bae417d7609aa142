"""What Celery does for the bridge: it knows instances by their heartbeats and touches none of them."""

from __future__ import annotations

from contextlib import suppress

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from accounts.alerts.notices import deliver, notice_options
from accounts.audit.context import unrecorded
from bridge.alerts.run import run
from bridge.alerts.view import AlertOptions
from bridge.fleet import attempts, behaviours, login_refresh, mirror, orders
from gateway_project.lib.database import database_state as database
from gateway_project.lib.redis.redis_client import AWAY


@shared_task(name="bridge.check_instances", throws=AWAY)
def check_instances() -> None:
    """Bring the instances in the database up to date; ask those of another version. Raise redis.RedisError."""
    rows = mirror.refresh(settings.REDIS_URL)
    with database.doing_without(), unrecorded():
        orders.give(orders.Action.SMOKE, behaviours.to_be_asked(rows, timezone.now()))


@shared_task(name="bridge.check_alerts", ignore_result=True)
def check_alerts() -> None:
    """Have alerts about states begin and end, and send what channels are still to be told."""
    with database.doing_without():
        run(settings.REDIS_URL, AlertOptions(**settings.ALERT_OPTIONS), timezone.now())
        deliver(notice_options(settings.ALERT_OPTIONS), timezone.now())


@shared_task(name="bridge.look_after_logins", ignore_result=True)
def look_after_logins() -> None:
    """Begin attempts to log in that are due, hand out those that nobody has taken, end those that nobody runs."""
    with database.doing_without():
        attempts.look_after()
        login_refresh.begin_due(settings.LOGIN_REFRESH)
        attempts.forget_screenshots(max(settings.CONTENT_RETENTION_DAYS, 1))


@shared_task(name="bridge.smoke", ignore_result=True)
def smoke() -> None:
    """Have each instance asked one short question. Pools obey, and report by their heartbeats."""
    with database.doing_without(), suppress(orders.UnknownInstance), unrecorded():
        orders.give(orders.Action.SMOKE, orders.names_of(orders.ALL, settings.REDIS_URL))
