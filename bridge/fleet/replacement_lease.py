"""The right to replace an instance of a login, which one process at a time has, on whatever machine."""

from __future__ import annotations

from typing import Final

from redis import ResponseError

from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_link import RedisLink, RedisUnavailable, Script

LIFETIME_SEC: Final = 20
"""Of a process that has died it is free after that."""
REMEMBERED_SEC: Final = 600

# KEYS: the lease (hash). ARGV: this process, the generation it would use, or -1 to give it back. Reply: whether it has
# the lease. The generation outlives the lease: who was held up for long does not bring back an older one.
TAKE = Script(f"""
local now = tonumber(redis.call('TIME')[1])
local held = redis.call('HMGET', KEYS[1], 'process', 'generation', 'until')
local mine = held[1] == ARGV[1]
if ARGV[2] == '-1' then
  if mine then redis.call('HSET', KEYS[1], 'until', 0) end
  return 0
end
if not mine and tonumber(held[3] or 0) > now then return 0 end
if tonumber(held[2] or 0) > tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'process', ARGV[1], 'generation', ARGV[2], 'until', now + {LIFETIME_SEC})
redis.call('EXPIRE', KEYS[1], {REMEMBERED_SEC})
return 1
""")


class RedisReplacementLease:
    """A `ReplacementLease` for one web process, which has a name of its own."""

    def __init__(self, link: RedisLink, process: str) -> None:
        self._link = link
        self._process = process

    async def take(self, login: int, generation: int) -> bool:
        try:
            return bool(await self._link.run(TAKE, [redis_keys.REPLACING + str(login)], [self._process, generation]))
        except (RedisUnavailable, ResponseError):
            # Each process alone then replaces one at a time: that costs memory, and no turn.
            return True

    async def give_back(self, login: int) -> None:
        try:
            await self._link.run(TAKE, [redis_keys.REPLACING + str(login)], [self._process, -1])
        except (RedisUnavailable, ResponseError):
            return  # it ends by itself
