"""Telling every web process that aliases or prompts have changed: a counter in Redis that each of them watches."""

from __future__ import annotations

import logging

import redis
from django.db import transaction

from accounts.apps import accounts_config
from gateway_project.lib import redis_keys
from gateway_project.lib.redis_client import connect

log = logging.getLogger(__name__)


def announce() -> None:
    """Once the transaction is committed, make every web process read its routes again."""
    transaction.on_commit(_count)


def _count() -> None:
    url = accounts_config().redis_url
    try:
        with connect(url) as client:
            client.incr(redis_keys.ROUTES)
    except redis.RedisError as exc:
        # They read them again after MODELS_REFRESH_SEC anyhow.
        log.warning("a change of aliases could not be announced: %s", exc)
