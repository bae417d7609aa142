"""Wrong keys that were pasted: whoever does it often has to wait, by address."""

from __future__ import annotations

import threading
import time
from typing import Any, Final

import redis
from django.conf import settings

from gateway_project.lib import redis_keys
from gateway_project.lib.address_share import share_of
from gateway_project.lib.redis_client import connect

FREE: Final = 5
"""Wrong pastes without a wait."""
LONGEST_SEC: Final = 60
MEMORY_SEC: Final = 600
MOST: Final = 4096

# One call, so that a thousand pastes at once are counted one after the other. ARGV: FREE, LONGEST_SEC, MEMORY_SEC.
BEGIN: Final = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local wait = (tonumber(redis.call('HGET', KEYS[1], 'until')) or 0) - now
if wait > 0 then return tostring(wait) end
local count = redis.call('HINCRBY', KEYS[1], 'count', 1)
local pause = 0
if count > tonumber(ARGV[1]) then pause = math.min(tonumber(ARGV[2]), 2 ^ (count - ARGV[1])) end
redis.call('HSET', KEYS[1], 'until', string.format('%.3f', now + pause))
redis.call('EXPIRE', KEYS[1], ARGV[3])
return '0'
"""

_lock = threading.Lock()
_alone: dict[str, tuple[int, float]] = {}
"""Count and end of the wait by address, while Redis is away: each process counts for itself."""


def begin(address: str) -> float:
    """Count a paste; seconds that this address has to wait before it may be tried, 0 for none."""
    share = share_of(address)
    try:
        with connect(settings.REDIS_URL) as client:
            answer: Any = client.eval(BEGIN, 1, redis_keys.PASTES + share, FREE, LONGEST_SEC, MEMORY_SEC)
        return float(answer)
    except redis.RedisError:
        return _begin_alone(share, time.monotonic())


def was_right(address: str) -> None:
    """The key was good: nothing is held against the address any more."""
    share = share_of(address)
    with _lock:
        _alone.pop(share, None)
    try:
        with connect(settings.REDIS_URL) as client:
            client.delete(redis_keys.PASTES + share)
    except redis.RedisError:
        pass  # it ends by itself


def _begin_alone(share: str, now: float) -> float:
    with _lock:
        count, until = _alone.pop(share, (0, 0.0))
        if now > until + MEMORY_SEC:
            count = 0
        if until <= now:
            count += 1
            until = now + (min(LONGEST_SEC, 2 ** (count - FREE)) if count > FREE else 0)
            wait = 0.0
        else:
            wait = until - now
        _alone[share] = count, until
        # The first of the dict is the one that has been quiet for longest.
        if len(_alone) > MOST:
            del _alone[next(iter(_alone))]
    return wait
