"""Wrong tries: whoever makes many has to wait, longer each time, but never for good. For pages, in their threads."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any, Final

import redis

from gateway_project.lib.backoff import growing
from gateway_project.lib.redis.redis_client import connect

MOST: Final = 4096

# One call, so that a thousand tries at once are counted one after the other. ARGV: free, longest, memory. What is later
# than the longest wait comes from before the clock was set back.
BEGIN: Final = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local wait = (tonumber(redis.call('HGET', KEYS[1], 'until')) or 0) - now
if wait > 0 and wait <= tonumber(ARGV[2]) then return tostring(wait) end
local count = redis.call('HINCRBY', KEYS[1], 'count', 1)
local pause = 0
if count > tonumber(ARGV[1]) then pause = math.min(tonumber(ARGV[2]), 2 ^ math.min(count - ARGV[1], 30)) end
redis.call('HSET', KEYS[1], 'until', string.format('%.3f', now + pause))
redis.call('EXPIRE', KEYS[1], ARGV[3])
return '0'
"""

# Both at once: a count without an end would stay for ever. Redis takes `EXPIRE … NX` from 7.0 on. ARGV: the window.
COUNT: Final = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return count
"""

_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Attempts:
    """Counts tries under names in Redis; each process for itself while Redis is away."""

    name: str
    """Before the names in Redis."""
    free: int
    """Tries without a wait."""
    longest_sec: int
    memory_sec: int
    """How long a count lives after its last try."""

    def begin(self, url: str, who: str) -> float:
        """Count a try; seconds to wait before it may be made, 0 for none. A try that has to wait is not counted."""
        try:
            with connect(url) as client:
                bounds = (self.free, self.longest_sec, self.memory_sec)
                answer: Any = client.eval(BEGIN, 1, self.name + who, *bounds)
            return float(answer)
        except redis.RedisError:
            return self._begin_alone(self.name + who, time.monotonic())

    def forget(self, url: str, who: str) -> None:
        """The try was right: nothing is held against them any more."""
        with _lock:
            _alone.pop(self.name + who, None)
        try:
            with connect(url) as client:
                client.delete(self.name + who)
        except redis.RedisError:
            pass  # it ends by itself

    def take_back(self, url: str, who: str) -> None:
        """The try was right, and says nothing of the wrong ones before it: they still count."""
        with _lock:
            if found := _alone.get(self.name + who):
                # The end of the wait is also what the count's age is taken from, so it is now and not long ago.
                _alone[self.name + who] = (max(0, found[0] - 1), min(found[1], time.monotonic()))
        try:
            with connect(url) as client, client.pipeline(transaction=True) as pipe:
                # Its memory begins anew in any case; without one a count that was just forgotten would stay for ever.
                pipe.hincrby(self.name + who, "count", -1).hset(self.name + who, "until", 0)
                pipe.expire(self.name + who, self.memory_sec).execute()
        except redis.RedisError:
            pass

    def _begin_alone(self, name: str, now: float) -> float:
        with _lock:
            count, until = _alone.pop(name, (0, 0.0))
            if now > until + self.memory_sec:
                count = 0
            if until <= now:
                count += 1
                pause = growing(1.0, count - self.free, self.longest_sec) if count > self.free else 0.0
                until, wait = now + pause, 0.0
            else:
                wait = until - now
            _alone[name] = count, until
            # The first of the dict is the one that has been quiet for longest.
            if len(_alone) > MOST:
                del _alone[next(iter(_alone))]
        return wait


_alone: dict[str, tuple[int, float]] = {}
"""Count and end of the wait by name, while Redis is away."""


def counted(url: str, name: str, window_sec: int) -> int:
    """How many events of this name there were, with this one, in the window that began with the first."""
    try:
        with connect(url) as client:
            answer: Any = client.eval(COUNT, 1, name, window_sec)
        return int(answer)
    except redis.RedisError:
        now = time.monotonic()
        with _lock:
            count, until = _alone.pop(name, (0, 0.0))
            count, until = (count + 1, until) if now < until else (1, now + window_sec)
            _alone[name] = count, until
            if len(_alone) > MOST:
                del _alone[next(iter(_alone))]
        return count
