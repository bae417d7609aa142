"""Whether what pages show is complete: rows come from Redis by the worker, and either may be away."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext
from redis import RedisError

from accounts.apps import accounts_config
from accounts.ledger.services import waiting_since

LATE_SEC: Final = 15.0
"""Rows are filed each two seconds; a batch may take longer."""


def staleness(now: datetime) -> str:
    """In words, what may be missing; "" when nothing is."""
    try:
        since = waiting_since(settings.REDIS_URL)
    except RedisError:
        return gettext("Redis is away. What was used since then comes later; nothing of it is lost.")
    # First what is late, and will be right by itself; a ledger that is wrong
    # needs somebody, and is said in quiet times.
    if since is None or now.timestamp() - since < LATE_SEC:
        wrong = accounts_config().ledger_is_wrong()
        return gettext("The ledger does not add up: figures of some hours are wrong.") if wrong else ""
    at = timezone.localtime(datetime.fromtimestamp(since, UTC))
    words = gettext("As of %(time)s: what was used since then waits for the worker, which is away or late.")
    return words % {"time": f"{at:%Y-%m-%d %H:%M:%S %Z}"}
