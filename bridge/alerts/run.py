"""One round of all checks. The worker does it by schedule; `stand_in` while there is no worker or scheduler."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import datetime
from typing import Final

import msgspec
import redis
from django.db.models import Count

from accounts.alerts import lasting
from accounts.alerts.raising import open_alerts
from bridge.alerts.checks import CHECKS, KINDS
from bridge.alerts.view import AlertOptions, look
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_client import connect

log = logging.getLogger(__name__)

COUNTS_SEC: Final = 60
"""How long the counts are valid for the metric, unless another round writes them anew."""


def run(redis_url: str, options: AlertOptions, now: datetime) -> None:
    """Look once, and have alerts begin and end. Safe to run twice and at once. Raise what the database raises."""
    view = look(redis_url, options, now)
    kept = lasting.kept()
    for check in CHECKS:
        found = check.find(view)
        # Of most kinds there is never anything, and each costs a transaction.
        if found is not None and (check.kind in kept or any(found.values())):
            lasting.observe(check.kind, found, now)
    _publish(redis_url)


def _publish(redis_url: str) -> None:
    """How many alerts are open, by kind, for the metric of the web processes."""
    rows = open_alerts().order_by().values_list("kind").annotate(Count("pk"))
    counts = dict.fromkeys(KINDS, 0) | dict(rows)
    with suppress(redis.RedisError), connect(redis_url) as client:
        client.set(redis_keys.ALERTS, msgspec.json.encode(counts), ex=COUNTS_SEC)
