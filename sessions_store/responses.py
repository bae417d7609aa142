"""Responses that a later request may continue or read: in Redis, per API key, for a while."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any
from weakref import WeakValueDictionary

from redis import RedisError

from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_link import SKEW_SEC, Arg, RedisLink, RedisUnavailable

log = logging.getLogger(__name__)

NOT_STORED = "A response could not be kept: %s"
ALL = f"{redis_keys.RESPONSES}all"
RANKS = f"{redis_keys.RESPONSES}keys"
"""API keys by the bytes of their records."""
MOST_BYTES = 8 << 20
MOST_OF_A_KEY = 256 << 20
MOST_OF_ALL = 512 << 20
MOST_DROPPED = 1000
"""Records that make room for one: the server does nothing else meanwhile."""
LARGE = 1 << 16
"""Bytes beyond which a record goes another way: on the link of all others they would wait for it."""
TURN_SEC = 5.0
"""How long a large record may wait for its turn, and take."""
MOST_READ = 32 << 20
"""Bytes that one request may have read: its references are small, what they refer to is not."""

# An index is a sorted set, `<record> <bytes>` by time, and its bytes are stored beside it.
_REMOVE = """
local function remove(index, sum, entry, size)
    if redis.call('ZREM', index, entry) == 1 then redis.call('DECRBY', sum, size) end
end
"""

# Which keys have the most bytes: whose records go first when there is too much of all.
_RANK = f"""
local function rank(ranks, key)
    local bytes = tonumber(redis.call('GET', '{redis_keys.RESPONSES}' .. key .. ':bytes') or 0)
    if bytes > 0 then redis.call('ZADD', ranks, bytes, key) else redis.call('ZREM', ranks, key) end
end
"""

# Delete a record and subtract its bytes; the reply is how many there were.
# KEYS record, index of the key, its bytes, index of all, its bytes, keys by their bytes; ARGV the key.
_DELETE = f"""
{_REMOVE}{_RANK}
local size = redis.call('STRLEN', KEYS[1])
local entry = KEYS[1] .. ' ' .. size
remove(KEYS[2], KEYS[3], entry, size)
remove(KEYS[4], KEYS[5], entry, size)
rank(KEYS[6], ARGV[1])
return redis.call('DEL', KEYS[1])
"""

# Store a record, and delete the oldest of the same API key, and then of the keys with the most, while there is too
# much: Redis is not the responses' alone. The same KEYS; ARGV record, ttl s, now, most of a key, of all, the key.
_STORE = f"""
{_REMOVE}{_RANK}
local before = redis.call('STRLEN', KEYS[1])
if before > 0 and before ~= #ARGV[1] then
    remove(KEYS[2], KEYS[3], KEYS[1] .. ' ' .. before, before)
    remove(KEYS[4], KEYS[5], KEYS[1] .. ' ' .. before, before)
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
local entry = KEYS[1] .. ' ' .. #ARGV[1]
local function add(index, sum)
    if redis.call('ZADD', index, ARGV[3], entry) == 0 then return tonumber(redis.call('GET', sum) or 0) end
    return redis.call('INCRBY', sum, #ARGV[1])
end
local function drop(entry)
    local record, key, size = entry:match('^({redis_keys.RESPONSE}(%d+):%S+) (%d+)$')
    redis.call('DEL', record)
    remove('{redis_keys.RESPONSES}' .. key, '{redis_keys.RESPONSES}' .. key .. ':bytes', entry, size)
    remove(KEYS[4], KEYS[5], entry, size)
    rank(KEYS[6], key)
end
-- Of the key with the most bytes: no key loses records to others that store more than itself.
local function next_of_all()
    for _ = 1, 100 do
        local first = redis.call('ZREVRANGE', KEYS[6], 0, 0)[1]
        if not first then break end
        local oldest = redis.call('ZRANGE', '{redis_keys.RESPONSES}' .. first, 0, 0)[1]
        if oldest == entry then break end
        if oldest then return oldest end
        redis.call('ZREM', KEYS[6], first)
    end
    return redis.call('ZRANGE', KEYS[4], 0, 0)[1]
end
local function next_of_key()
    return redis.call('ZRANGE', KEYS[2], 0, 0)[1]
end
local function bound(index, sum, most, next_one)
    local early = redis.call('ZRANGEBYSCORE', index, '(' .. ARGV[3] + {SKEW_SEC}, '+inf', 'LIMIT', 0, 100)
    for _, each in ipairs(early) do redis.call('ZADD', index, ARGV[3] - 1, each) end
    local expired = redis.call('ZRANGEBYSCORE', index, '-inf', ARGV[3] - ARGV[2], 'LIMIT', 0, 100)
    for _, old in ipairs(expired) do drop(old) end
    for _ = 1, {MOST_DROPPED} do
        if tonumber(redis.call('GET', sum) or 0) <= tonumber(most) then break end
        local oldest = next_one()
        if not oldest then redis.call('SET', sum, 0) break end
        drop(oldest)
    end
    redis.call('EXPIRE', index, ARGV[2])
    redis.call('EXPIRE', sum, ARGV[2])
end
add(KEYS[2], KEYS[3])
add(KEYS[4], KEYS[5])
bound(KEYS[2], KEYS[3], ARGV[4], next_of_key)
rank(KEYS[6], ARGV[6])
redis.call('EXPIRE', KEYS[6], ARGV[2])
bound(KEYS[4], KEYS[5], ARGV[5], next_of_all)
"""


# Read records, or return their bytes if these are too many. KEYS records; ARGV most bytes.
_READ = """
local total = 0
for _, record in ipairs(KEYS) do total = total + redis.call('STRLEN', record) end
if total > tonumber(ARGV[1]) then return total end
return redis.call('MGET', unpack(KEYS))
"""


class StoredTooLarge(Exception):
    """The records requested are more than one request may bring into memory."""


class StoreUnavailable(Exception):
    """Redis is away, so nothing can be read."""


class Bulk:
    """Redis for what is large, on a link of its own: one command at a time, and of one key's callers one in the line.

    The server does one thing at a time, and a link its commands in a row. Several large ones in a row would delay
    small ones so long that the server seems to be down.
    """

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._all = asyncio.Lock()
        self._of_key: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    async def execute(self, key_id: int, *command: Arg) -> Any:
        """The reply. Raise RedisUnavailable, also when the turn does not come, or ResponseError."""
        # A weak dictionary: the lock of a key lives as long as somebody waits for it.
        of_key = self._of_key.setdefault(key_id, asyncio.Lock())
        try:
            # First the line of the key, then that of all: callers of one key hold at most one place among all.
            async with asyncio.timeout(TURN_SEC), of_key:
                await self._all.acquire()
                # The shield: a caller that leaves must not cancel the reply, whose callback gives the turn back.
                return await asyncio.shield(self._issue(command))
        except TimeoutError:
            raise RedisUnavailable("too much is read and written") from None

    def _issue(self, command: tuple[Arg, ...]) -> asyncio.Future[Any]:
        """The turn ends with the reply, also when nobody waits for it any more."""
        try:
            reply = self._link.execute(*command)
        except RedisUnavailable:
            self._all.release()
            raise
        reply.add_done_callback(self._replied)
        return reply

    def _replied(self, reply: asyncio.Future[Any]) -> None:
        self._all.release()
        reply.exception()  # whoever still waits gets it


class ResponseStore:
    """Records by the id of their response, each for `ttl` seconds. One key's records do not exist for another.

    Nothing here fails a turn: without Redis, and beyond `most_bytes`, nothing is stored. The oldest go when those of
    one key exceed `most_of_a_key` bytes, or all together `most_of_all`. At most `most_read` bytes are read at once.
    """

    def __init__(
        self,
        link: RedisLink,
        bulk: RedisLink | None = None,
        *,
        ttl: int,
        most_bytes: int = MOST_BYTES,
        most_of_a_key: int = MOST_OF_A_KEY,
        most_of_all: int = MOST_OF_ALL,
        most_read: int = MOST_READ,
    ) -> None:
        self._link = link
        self._bulk = Bulk(bulk or link)
        self._ttl = ttl
        self._most_bytes = most_bytes
        self._bounds = (most_of_a_key, most_of_all)
        self._most_read = most_read

    def accepts(self, size: int) -> bool:
        """Whether a record of so many bytes may be stored; one that may not is logged."""
        if size > self._most_bytes:
            log.warning("A response of %d bytes is too large to be kept", size)
        return size <= self._most_bytes

    async def store(self, key_id: int, response_id: str, record: bytes) -> None:
        """Send the record: Redis takes it before anything that is issued later. A large one is waited for."""
        if not self.accepts(len(record)):
            return
        keys = _keys(key_id, response_id)
        command = ("EVAL", _STORE, len(keys), *keys, record, self._ttl, time.time(), *self._bounds, key_id)
        try:
            # A small one is not waited for: the link keeps the order of commands, so a later read finds it.
            if len(record) > LARGE:
                await self._bulk.execute(key_id, *command)
            else:
                self._link.execute(*command).add_done_callback(_stored)
        except RedisUnavailable as problem:
            if self._link.available:  # else it is away for all, which the link reports
                log.warning(NOT_STORED, problem)
        except RedisError as problem:
            log.warning(NOT_STORED, problem)

    async def read(self, key_id: int, response_ids: Sequence[str]) -> dict[str, bytes]:
        """Those of the records that are there. Raise StoreUnavailable or StoredTooLarge."""
        keys: list[Arg] = [_key(key_id, each) for each in response_ids]
        try:
            # One step gives the records or, when they are large, only their size: then they are read on the other link.
            found = await self._link.execute("EVAL", _READ, len(keys), *keys, min(LARGE, self._most_read))
            # A number is the sum of their bytes; a list is the records themselves.
            if isinstance(found, int):
                if found > self._most_read:
                    raise StoredTooLarge
                found = await self._bulk.execute(key_id, "MGET", *keys)
        except (RedisUnavailable, RedisError) as exc:
            raise StoreUnavailable from exc
        return {each: record for each, record in zip(response_ids, found, strict=True) if record is not None}

    async def delete(self, key_id: int, response_id: str) -> bool:
        """Delete the record; False if there was none. Raise StoreUnavailable."""
        try:
            keys = _keys(key_id, response_id)
            return bool(await self._link.execute("EVAL", _DELETE, len(keys), *keys, key_id))
        except (RedisUnavailable, RedisError) as exc:
            raise StoreUnavailable from exc


def _key(key_id: int, response_id: str) -> str:
    # The key's id comes first, so an id that a client guesses finds nothing of another key.
    return f"{redis_keys.RESPONSE}{key_id}:{response_id}"


def _keys(key_id: int, response_id: str) -> list[Arg]:
    """The record, and where it counts: for its key and for all."""
    index = f"{redis_keys.RESPONSES}{key_id}"
    return [_key(key_id, response_id), index, f"{index}:bytes", ALL, f"{ALL}:bytes", RANKS]


def _stored(reply: asyncio.Future[Any]) -> None:
    problem = None if reply.cancelled() else reply.exception()
    if problem is not None and not isinstance(problem, RedisUnavailable):  # the link reports that, and once
        log.warning(NOT_STORED, problem)
