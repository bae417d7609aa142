"""Telling every process that keys have changed."""

from __future__ import annotations

import logging

import redis
from django.db import transaction

from accounts.apps import accounts_config
from accounts.redis_client import connect

log = logging.getLogger(__name__)

CHANNEL = "lgw:keys"


def announce() -> None:
    """Once the transaction is committed, make every KeyRing forget what it has read."""
    transaction.on_commit(_publish)


def _publish() -> None:
    url = accounts_config().redis_url
    try:
        with connect(url) as client:
            client.publish(CHANNEL, b"changed")
    except redis.RedisError as exc:
        # The rings miss the server too, and trust what they have read for a second at most.
        log.warning("a change of keys could not be announced: %s", exc)
