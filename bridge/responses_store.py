"""Responses that a later request may continue or read: in Redis, per API key, for a while."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any

from redis import RedisError

from accounts.redis_link import RedisLink, RedisUnavailable

log = logging.getLogger(__name__)

PREFIX = "lgw:response:"
INDEX = "lgw:responses:"
MOST_BYTES = 8 << 20
MOST_OF_A_KEY = 256 << 20
MOST_READ = 32 << 20
"""Bytes that one request may have read: its references are small, what they refer to is not."""

# Keep a record, and drop the oldest of the same API key while there is too much. Redis is not the responses' alone.
# KEYS record, index (a sorted set: `<record> <bytes>` by time), bytes of all; ARGV record, ttl s, now, most bytes.
_KEEP = """
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[3], KEYS[1] .. ' ' .. #ARGV[1])
local total = redis.call('INCRBY', KEYS[3], #ARGV[1])
local function drop(entry)
    local record, size = entry:match('^(%S+) (%d+)$')
    redis.call('DEL', record)
    redis.call('ZREM', KEYS[2], entry)
    total = redis.call('DECRBY', KEYS[3], size)
end
local expired = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[3] - ARGV[2], 'LIMIT', 0, 100)
for _, entry in ipairs(expired) do drop(entry) end
while total > tonumber(ARGV[4]) do
    local oldest = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
    if not oldest then redis.call('SET', KEYS[3], 0) break end
    drop(oldest)
end
redis.call('EXPIRE', KEYS[2], ARGV[2])
redis.call('EXPIRE', KEYS[3], ARGV[2])
"""


# Read records, unless all of them are too much. KEYS records; ARGV most bytes.
_READ = """
local total = 0
for _, record in ipairs(KEYS) do total = total + redis.call('STRLEN', record) end
if total > tonumber(ARGV[1]) then return false end
return redis.call('MGET', unpack(KEYS))
"""


class StoredTooLarge(Exception):
    """What is asked for is more than one request may bring into memory."""


class StoreUnavailable(Exception):
    """What is stored cannot be read right now."""


class ResponseStore:
    """Records by the id of their response, each for `ttl` seconds. One key's records do not exist for another.

    Nothing here fails a turn: without Redis, and beyond `most_bytes`, nothing is kept. Of one key's records the oldest
    go when all together exceed `most_of_a_key` bytes. At most `most_read` bytes are read at once.
    """

    def __init__(
        self,
        link: RedisLink,
        *,
        ttl: int,
        most_bytes: int = MOST_BYTES,
        most_of_a_key: int = MOST_OF_A_KEY,
        most_read: int = MOST_READ,
    ) -> None:
        self._link = link
        self._ttl = ttl
        self._most_bytes = most_bytes
        self._most_of_a_key = most_of_a_key
        self._most_read = most_read

    def takes(self, size: int) -> bool:
        """Whether a record of so many bytes may be kept; one that may not is logged."""
        if size > self._most_bytes:
            log.warning("A response of %d bytes is too large to be kept", size)
        return size <= self._most_bytes

    def keep(self, key_id: int, response_id: str, record: bytes) -> None:
        """Send the record on its way. Redis takes it before anything that is issued later."""
        if not self.takes(len(record)):
            return
        index = f"{INDEX}{key_id}"
        keys = (_key(key_id, response_id), index, f"{index}:bytes")
        args = (record, self._ttl, time.time(), self._most_of_a_key)
        try:
            reply = self._link.execute("EVAL", _KEEP, len(keys), *keys, *args)
        except RedisUnavailable:
            return
        reply.add_done_callback(_kept)

    async def read(self, key_id: int, response_ids: Sequence[str]) -> dict[str, bytes]:
        """Those of the records that are there, in one question. Raise StoreUnavailable or StoredTooLarge."""
        keys = [_key(key_id, each) for each in response_ids]
        try:
            found = await self._link.execute("EVAL", _READ, len(keys), *keys, self._most_read)
        except (RedisUnavailable, RedisError) as exc:
            raise StoreUnavailable from exc
        if found is None:
            raise StoredTooLarge
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
