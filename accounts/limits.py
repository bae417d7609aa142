"""What a key may do: its models, and how many requests, tokens and turns at once, counted in Redis."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Coroutine
from typing import Any, Literal, Protocol

from redis import ResponseError

from accounts.keys import Caller
from accounts.patterns import allows
from accounts.redis_link import RedisLink, RedisUnavailable, Script

Limit = Literal["rpm", "tpm", "concurrency"]

WINDOW = 60  # seconds
SLICE = 5  # tokens are counted per this many seconds
LEASE = 60  # how long a turn of a killed process holds its place
RENEW = 20

# KEYS: requests (zset, request by time), tokens (hash, sum by slice), turns (zset, request by end of lease)
# ARGV: request, rpm, tpm, concurrency. Reply: {} or {limit, seconds to wait, what it stands at}.
ADMIT = Script(f"""
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local request, rpm, tpm, concurrency = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if rpm > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - {WINDOW})
  local count = redis.call('ZCARD', KEYS[1])
  if count >= rpm then
    local oldest = redis.call('ZRANGE', KEYS[1], -rpm, -rpm, 'WITHSCORES')
    return {{'rpm', tostring(oldest[2] + {WINDOW} - now), count}}
  end
end
if tpm > 0 then
  local sum, slices = 0, redis.call('HGETALL', KEYS[2])
  local kept = {{}}
  for i = 1, #slices, 2 do
    local start = tonumber(slices[i])
    if start <= now - {WINDOW} then
      redis.call('HDEL', KEYS[2], slices[i])
    else
      sum = sum + slices[i + 1]
      kept[#kept + 1] = {{start, tonumber(slices[i + 1])}}
    end
  end
  if sum >= tpm then
    local all = sum
    table.sort(kept, function(a, b) return a[1] < b[1] end)
    for _, slice in ipairs(kept) do
      sum = sum - slice[2]
      if sum < tpm then return {{'tpm', tostring(slice[1] + {WINDOW} - now), all}} end
    end
  end
end
if concurrency > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
  local count = redis.call('ZCARD', KEYS[3])
  if count >= concurrency then return {{'concurrency', '1', count}} end
  redis.call('ZADD', KEYS[3], now + {LEASE}, request)
  redis.call('EXPIRE', KEYS[3], {2 * LEASE})
end
if rpm > 0 then
  redis.call('ZADD', KEYS[1], now, request)
  redis.call('EXPIRE', KEYS[1], {WINDOW})
end
return {{}}
""")

# The same keys. ARGV: request, tokens.
SETTLE = Script(f"""
redis.call('ZREM', KEYS[3], ARGV[1])
if tonumber(ARGV[2]) > 0 then
  local now = tonumber(redis.call('TIME')[1])
  redis.call('HINCRBY', KEYS[2], now - now % {SLICE}, ARGV[2])
  redis.call('EXPIRE', KEYS[2], {WINDOW + SLICE})
end
""")

# KEYS: turns. ARGV: requests whose lease goes on.
KEEP = Script(f"""
local now = tonumber(redis.call('TIME')[1])
for _, request in ipairs(ARGV) do redis.call('ZADD', KEYS[1], 'XX', now + {LEASE}, request) end
redis.call('EXPIRE', KEYS[1], {2 * LEASE})
""")


class LimitExceeded(Exception):
    """
    The key has used up a limit. `allowed` is the limit's size, `value` what it stands at, `retry_after` whole seconds
    from 1 to 60.
    """

    def __init__(self, limit: Limit, allowed: int, value: int, retry_after: float, scope: str = "key") -> None:
        super().__init__(f"{limit} of {allowed} per {scope}")
        self.limit = limit
        self.allowed = allowed
        self.value = value
        self.scope = scope
        self.retry_after = max(1, min(WINDOW, int(retry_after + 0.999)))


def may_use(caller: Caller, *names: str) -> bool:
    """Whether the key's list of models, where it has one, has a pattern that fits one of a model's names."""
    return caller.models is None or allows(caller.models, names)


class Ticket(Protocol):
    """What `admit` gives: release it when the turn has ended, with the tokens it took."""

    async def release(self, tokens: int = 0) -> None:
        """Never raises; a second time does nothing."""


class _Unlimited:
    async def release(self, tokens: int = 0) -> None:
        pass


UNLIMITED: Ticket = _Unlimited()


class Limits:
    """One process's door. While Redis is away each process counts for itself."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._here: defaultdict[int, _Here] = defaultdict(_Here)
        self._leases: dict[int, set[str]] = {}
        self._keeping: asyncio.Task[None] | None = None
        self._settling: set[asyncio.Task[None]] = set()

    async def admit(self, caller: Caller, request_id: str) -> Ticket:
        """Raise LimitExceeded, or count this request. Costs nothing for a key without limits."""
        if not (caller.rpm or caller.tpm or caller.concurrency):
            return UNLIMITED
        try:
            refusal: Any = await self._link.run(
                ADMIT, names(caller.key_id), [request_id, caller.rpm, caller.tpm, caller.concurrency]
            )
        except asyncio.CancelledError:
            # It may have been counted, and nobody is left to give its place back.
            self._later(self.settle(caller.key_id, request_id, 0))
            raise
        except (RedisUnavailable, ResponseError):
            here = self._here[caller.key_id]
            here.admit(caller, time.monotonic())
            return _HereTicket(here)
        if refusal:
            limit: Limit = refusal[0].decode()
            raise LimitExceeded(limit, getattr(caller, limit), int(refusal[2]), float(refusal[1]))
        if caller.concurrency:
            self._keep(caller.key_id, request_id)
        return _Ticket(self, caller.key_id, request_id)

    async def settle(self, key_id: int, request_id: str, tokens: int) -> None:
        """End the request's lease and count its tokens."""
        if held := self._leases.get(key_id):
            held.discard(request_id)
            if not held:
                del self._leases[key_id]
        try:
            await self._link.run(SETTLE, names(key_id), [request_id, tokens])
        except (RedisUnavailable, ResponseError):
            self._here[key_id].spend(tokens, time.monotonic())

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    def _keep(self, key_id: int, request_id: str) -> None:
        self._leases.setdefault(key_id, set()).add(request_id)
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.get_running_loop().create_task(self._keep_leases())

    async def _keep_leases(self) -> None:
        while self._leases:
            await asyncio.sleep(RENEW)
            for key_id, held in list(self._leases.items()):
                try:
                    await self._link.run(KEEP, names(key_id)[2:], sorted(held))
                except (RedisUnavailable, ResponseError):
                    break


def names(key_id: int) -> list[str]:
    """The Redis keys of one ApiKey; the braces put them on one node of a cluster."""
    return [f"lgw:limit:{{{key_id}}}:{kind}" for kind in ("requests", "tokens", "turns")]


class _Ticket:
    __slots__ = ("_key_id", "_limits", "_request_id")

    def __init__(self, limits: Limits, key_id: int, request_id: str) -> None:
        self._limits: Limits | None = limits
        self._key_id = key_id
        self._request_id = request_id

    async def release(self, tokens: int = 0) -> None:
        limits, self._limits = self._limits, None
        if limits is not None:
            await limits.settle(self._key_id, self._request_id, tokens)


class _Here:
    """What this process alone has seen of a key lately."""

    def __init__(self) -> None:
        self.requests: deque[float] = deque()
        self.tokens: deque[tuple[float, int]] = deque()
        self.turns = 0

    def admit(self, caller: Caller, now: float) -> None:
        while self.requests and self.requests[0] <= now - WINDOW:
            self.requests.popleft()
        while self.tokens and self.tokens[0][0] <= now - WINDOW:
            self.tokens.popleft()
        if caller.rpm and (made := len(self.requests)) >= caller.rpm:
            raise LimitExceeded("rpm", caller.rpm, made, self.requests[-caller.rpm] + WINDOW - now)
        if caller.tpm and (spent := sum(count for _, count in self.tokens)) >= caller.tpm:
            raise LimitExceeded("tpm", caller.tpm, spent, self.tokens[0][0] + WINDOW - now)
        if caller.concurrency and self.turns >= caller.concurrency:
            raise LimitExceeded("concurrency", caller.concurrency, self.turns, 1)
        self.requests.append(now)
        self.turns += 1

    def spend(self, tokens: int, now: float) -> None:
        if tokens:
            self.tokens.append((now, tokens))


class _HereTicket:
    __slots__ = ("_here",)

    def __init__(self, here: _Here) -> None:
        self._here: _Here | None = here

    async def release(self, tokens: int = 0) -> None:
        here, self._here = self._here, None
        if here is not None:
            here.turns -= 1
            here.spend(tokens, time.monotonic())
