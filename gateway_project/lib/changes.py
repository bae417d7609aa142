"""Announces changed rows to all processes through Redis, after the commit."""

from __future__ import annotations

import logging
from functools import partial

import redis
from django.conf import settings
from django.db import transaction

from gateway_project.lib.redis.redis_client import connect

log = logging.getLogger(__name__)


def after_commit(what: str, *command: str | bytes) -> None:
    """Once the transaction is committed, send the command to Redis. A failure is logged, with `what` as its subject."""
    # Before the commit others would read the old row again, and keep it as the new one.
    transaction.on_commit(partial(_send, what, command))


def _send(what: str, command: tuple[str | bytes, ...]) -> None:
    try:
        with connect(settings.REDIS_URL) as client:
            client.execute_command(*command)
    # The row is committed and stays so; readers also read again by the clock, so a lost message costs them a delay.
    except redis.RedisError as exc:
        log.warning("a change of %s could not be announced: %s", what, exc)
