"""The lease of a login in Redis: whoever holds it logs in, over all processes and machines.

The row of the attempt says the same; the lease also ends by itself with the process that held it.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any, Final

import redis

from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_client import connect_async

LEASE_SEC: Final = 20
WAIT_SEC: Final = 1.0
RENEW: Final = """
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
"""
FREE: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


class AttemptLease:
    """Of one attempt. While Redis is away nobody can tell, and the row alone decides."""

    def __init__(self, redis_url: str, login: int, generation: int, attempt: int) -> None:
        self._client: Any = connect_async(redis_url, WAIT_SEC)
        self._key = f"{redis_keys.ATTEMPT}{login}"
        # The generation is the fence: what began with an older one may be stored over no other.
        self._value = f"{generation}:{attempt}:{secrets.token_hex(8)}"

    async def hold(self) -> bool:
        """Take or keep it. False: another process holds it."""
        # The client loses a cancellation that comes while it sends (`asyncio.wait_for`, Python 3.11), and whoever is
        # cancelled would hold the lease for good.
        asking = asyncio.ensure_future(self._ask())
        try:
            await asyncio.wait({asking}, timeout=2 * WAIT_SEC)
        except asyncio.CancelledError:
            await asyncio.wait({asking}, timeout=2 * WAIT_SEC)  # what is on its way would come behind `free`
            raise
        return asking.result() if asking.done() else True

    async def _ask(self) -> bool:
        try:
            return bool(await self._client.eval(RENEW, 1, self._key, self._value, LEASE_SEC))
        except redis.RedisError:
            return True

    async def free(self) -> None:
        try:
            await self._client.eval(FREE, 1, self._key, self._value)
        except redis.RedisError:
            pass
        finally:
            await self._client.aclose()
