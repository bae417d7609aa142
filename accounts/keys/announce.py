"""Telling every process which keys have changed."""

from __future__ import annotations

import logging
from collections.abc import Collection
from functools import partial

import redis
from django.db import transaction

from accounts.apps import accounts_config
from gateway_project.lib import redis_keys
from gateway_project.lib.redis_client import connect

log = logging.getLogger(__name__)

ANY = b"changed"
MOST = 500  # more than these are told as any


def announce(digests: Collection[str] | None = None) -> None:
    """
    Once the transaction is committed, make every KeyRing forget what it has read of these keys, None: of all.

    Naming them spares the others: a ring that has forgotten a key cannot serve it while the database is away.
    """
    if digests is None or len(digests) > MOST:
        transaction.on_commit(partial(_publish, ANY))
    elif digests:
        transaction.on_commit(partial(_publish, " ".join(digests).encode()))


def changed_in(message: bytes) -> list[bytes] | None:
    """The digests a message names; None when it may be any."""
    try:
        return None if message == ANY else [bytes.fromhex(digest) for digest in message.decode().split()]
    except ValueError:
        return None


def _publish(message: bytes) -> None:
    url = accounts_config().redis_url
    try:
        with connect(url) as client:
            client.publish(redis_keys.KEYS_CHANGED, message)
    except redis.RedisError as exc:
        # The rings miss the server too, and trust what they have read for a second at most.
        log.warning("a change of keys could not be announced: %s", exc)
