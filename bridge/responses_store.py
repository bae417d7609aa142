"""Responses that a later request may continue or read: in Redis, per API key, for a while."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from redis import RedisError

from accounts.redis_link import RedisLink, RedisUnavailable

log = logging.getLogger(__name__)

PREFIX = "lgw:response:"
MOST_BYTES = 8 << 20


class StoreUnavailable(Exception):
    """What is stored cannot be read right now."""


class ResponseStore:
    """Records by the id of their response, each for `ttl` seconds. One key's records do not exist for another.

    Nothing here fails a turn: without Redis, and beyond `most_bytes`, nothing is kept.
    """

    def __init__(self, link: RedisLink, *, ttl: int, most_bytes: int = MOST_BYTES) -> None:
        self._link = link
        self._ttl = ttl
        self._most_bytes = most_bytes

    def takes(self, size: int) -> bool:
        """Whether a record of so many bytes may be kept; one that may not is logged."""
        if size > self._most_bytes:
            log.warning("A response of %d bytes is too large to be kept", size)
        return size <= self._most_bytes

    def keep(self, key_id: int, response_id: str, record: bytes) -> None:
        """Send the record on its way. Redis takes it before anything that is issued later."""
        if not self.takes(len(record)):
            return
        try:
            reply = self._link.execute("SET", _key(key_id, response_id), record, "EX", self._ttl)
        except RedisUnavailable:
            return
        reply.add_done_callback(_kept)

    async def read(self, key_id: int, response_ids: Sequence[str]) -> dict[str, bytes]:
        """Those of the records that are there, in one question. Raise StoreUnavailable."""
        try:
            found = await self._link.execute("MGET", *(_key(key_id, each) for each in response_ids))
        except (RedisUnavailable, RedisError) as exc:
            raise StoreUnavailable from exc
        return {each: record for each, record in zip(response_ids, found, strict=True) if record is not None}

    async def forget(self, key_id: int, response_id: str) -> bool:
        """Drop the record; False if there was none. Raise StoreUnavailable."""
        try:
            return bool(await self._link.execute("DEL", _key(key_id, response_id)))
        except (RedisUnavailable, RedisError) as exc:
            raise StoreUnavailable from exc


def _key(key_id: int, response_id: str) -> str:
    return f"{PREFIX}{key_id}:{response_id}"


def _kept(reply: asyncio.Future[Any]) -> None:
    if not reply.cancelled() and (problem := reply.exception()) is not None:
        log.warning("A response could not be kept: %s", problem)
