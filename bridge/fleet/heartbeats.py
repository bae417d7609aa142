"""The reports of the pools on their instances, read from Redis."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import redis

from bridge.status.instance import InstanceStatus
from gateway_project.lib.redis import redis_keys

log = logging.getLogger(__name__)

_decode = msgspec.json.Decoder(InstanceStatus).decode


def read_all(client: redis.Redis) -> list[InstanceStatus]:
    """The status of every instance that is alive."""
    # SCAN and not KEYS, which would block Redis, and with it every turn's limits, while it walks all keys.
    keys = list(client.scan_iter(f"{redis_keys.INSTANCE}*", count=1000))
    found: Any = client.mget(keys) if keys else []
    return [status for value in found if value is not None and (status := _read(value))]


def _read(value: bytes) -> InstanceStatus | None:
    try:
        return _decode(value)
    # During an update, processes of two versions may run at once.
    except msgspec.MsgspecError as exc:
        log.warning("a heartbeat could not be read: %s", exc)
        return None
