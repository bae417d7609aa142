"""The limits of a key: its models, and how many requests, tokens and concurrent turns, counted in Redis."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any, Literal, Protocol

from redis import ResponseError

from accounts.keys.keyring import Caller
from accounts.patterns import allows
from gateway_project.lib import redis_keys
from gateway_project.lib.redis_link import NotSent, RedisLink, RedisUnavailable, Script

Limit = Literal["rpm", "tpm", "concurrency"]

WINDOW = 60  # seconds
SLICE = 5  # tokens are counted per this many seconds
LEASE = 6  # how long a turn of a killed process holds its place, and what it has reserved
RENEW = 2
FIRST_ANSWER = 256  # tokens that are reserved for the answer to a key that has had none lately
MOST_ANSWERS = 4096  # keys whose answers are remembered
MOST_UNSETTLED = 4096  # turns that ended while Redis was away

# KEYS: requests (zset, request by time), tokens (hash, sum by slice), turns (zset, request by end of lease),
# reserved (hash, tokens by request)
# ARGV: request, rpm, tpm, concurrency, tokens to reserve. Reply: {} or {limit, seconds to wait, what it stands at}.
# What lies in the future comes from before a step of the clock: it would count until that time comes again.
ADMIT = Script(f"""
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local request, rpm, tpm, concurrency = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local function forget(min, max)
  for _, each in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], min, max)) do redis.call('HDEL', KEYS[4], each) end
  redis.call('ZREMRANGEBYSCORE', KEYS[3], min, max)
end
if rpm > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - {WINDOW})
  redis.call('ZREMRANGEBYSCORE', KEYS[1], now + 1, '+inf')
  local count = redis.call('ZCARD', KEYS[1])
  if count >= rpm then
    local oldest = redis.call('ZRANGE', KEYS[1], -rpm, -rpm, 'WITHSCORES')
    return {{'rpm', tostring(oldest[2] + {WINDOW} - now), count}}
  end
end
if tpm > 0 or concurrency > 0 then
  forget('-inf', now)
  forget(now + {LEASE + 1}, '+inf')
end
if tpm > 0 then
  local reserved = 0
  for _, tokens in ipairs(redis.call('HVALS', KEYS[4])) do reserved = reserved + tokens end
  local sum, slices = reserved, redis.call('HGETALL', KEYS[2])
  local kept = {{}}
  for i = 1, #slices, 2 do
    local start = tonumber(slices[i])
    if start <= now - {WINDOW} or start > now + 1 then
      redis.call('HDEL', KEYS[2], slices[i])
    else
      sum = sum + slices[i + 1]
      kept[#kept + 1] = {{start, tonumber(slices[i + 1])}}
    end
  end
  local fits = tpm - 1
  if reserved > 0 then fits = math.min(fits, tpm - ARGV[5]) end
  if sum > fits then
    local all = sum
    table.sort(kept, function(a, b) return a[1] < b[1] end)
    for _, slice in ipairs(kept) do
      sum = sum - slice[2]
      if sum <= fits then return {{'tpm', tostring(slice[1] + {WINDOW} - now), all}} end
    end
    return {{'tpm', '1', all}}
  end
end
if concurrency > 0 then
  local count = redis.call('ZCARD', KEYS[3])
  if count >= concurrency then return {{'concurrency', '1', count}} end
end
if tpm > 0 or concurrency > 0 then
  redis.call('ZADD', KEYS[3], now + {LEASE}, request)
  redis.call('EXPIRE', KEYS[3], {2 * LEASE})
end
if tpm > 0 then
  redis.call('HSET', KEYS[4], request, ARGV[5])
  redis.call('EXPIRE', KEYS[4], {2 * LEASE})
end
if rpm > 0 then
  redis.call('ZADD', KEYS[1], now, request)
  redis.call('EXPIRE', KEYS[1], {WINDOW})
end
return {{}}
""")

# The same keys. ARGV: request, tokens, "again" for one that may have been settled already: only its lease shows which.
SETTLE = Script(f"""
local leased = redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('HDEL', KEYS[4], ARGV[1])
if tonumber(ARGV[2]) > 0 and (ARGV[3] == '' or leased == 1) then
  local now = tonumber(redis.call('TIME')[1])
  redis.call('HINCRBY', KEYS[2], now - now % {SLICE}, ARGV[2])
  redis.call('EXPIRE', KEYS[2], {WINDOW + SLICE})
end
""")

# KEYS: turns, reserved. ARGV: requests whose lease goes on, also those that Redis has lost or never got.
EXTEND = Script(f"""
local now = tonumber(redis.call('TIME')[1])
for _, request in ipairs(ARGV) do redis.call('ZADD', KEYS[1], now + {LEASE}, request) end
redis.call('EXPIRE', KEYS[1], {2 * LEASE})
redis.call('EXPIRE', KEYS[2], {2 * LEASE})
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
    """Whether the key's list of models, where it has one, allows a model that goes by these names."""
    return caller.models is None or allows(caller.models, names)


class Admission(Protocol):
    """What `admit` gives: release it when the turn has ended, with the tokens it took."""

    async def release(self, tokens: int = 0) -> None:
        """Never raises; a second time does nothing."""


class _Unlimited:
    async def release(self, tokens: int = 0) -> None:
        pass


UNLIMITED: Admission = _Unlimited()


class Limits:
    """Admits requests of one process. While Redis is away each process counts for itself, from then on.

    A turn holds its place, and the tokens reserved for it, as long as its process renews the lease. What a process that
    died held is free after LEASE seconds.
    """

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._local: defaultdict[int, LocalCounter] = defaultdict(LocalCounter)
        self._held: dict[int, dict[str, int]] = {}
        """Turns of this process that hold a place, by key: what was reserved for each."""
        self._answers: dict[int, float] = {}
        """Tokens of an answer to each key, a moving average; the key that was answered last is the last."""
        self._renewing: asyncio.Task[None] | None = None
        self._settling: set[asyncio.Task[None]] = set()
        self._unsettled: deque[tuple[int, list[str | int]]] = deque(maxlen=MOST_UNSETTLED)

    @property
    def unsettled_count(self) -> int:
        """Turns that have ended and are still to be settled."""
        return len(self._unsettled)

    async def admit(self, caller: Caller, request_id: str, prompt: int = 0, longest: int | None = None) -> Admission:
        """Count this request, or raise LimitExceeded. A key without limits costs nothing.

        `prompt` are the tokens of the request, `longest` the most that the answer may have, if the client set a limit.
        Only a key with a limit of tokens needs them.
        """
        if not caller.is_limited:
            return UNLIMITED
        key_id, tokens = caller.key_id, self._estimate(caller, prompt, longest) if caller.tpm else 0
        # One script for all limits: a count, a comparison and a reservation by separate commands would race with
        # others.
        try:
            refusal: Any = await self._link.run(
                ADMIT, redis_keys.limits(key_id), [request_id, caller.rpm, caller.tpm, caller.concurrency, tokens]
            )
        except asyncio.CancelledError:
            # It may have been counted, and nobody is left to give its place back.
            self._in_background(self.settle(key_id, request_id, 0))
            raise
        except (RedisUnavailable, ResponseError):
            # Redis is away: this process counts alone, so with several processes a key may get that many times its
            # limit.
            self._local[key_id].admit(caller, tokens, self._held.get(key_id, {}), time.monotonic())
        else:
            if refusal:
                limit: Limit = refusal[0].decode()
                raise LimitExceeded(limit, getattr(caller, limit), int(refusal[2]), float(refusal[1]))
        if caller.concurrency or caller.tpm:
            self._hold(key_id, request_id, tokens)
        # None: without a limit of tokens nothing is learnt about the length of answers.
        return _Admission(self, key_id, request_id, prompt if caller.tpm else None)

    def _estimate(self, caller: Caller, prompt: int, longest: int | None) -> int:
        answer = self._answers.get(caller.key_id, FIRST_ANSWER)
        return round(prompt + (answer if longest is None else min(answer, longest)))

    def record_answer(self, key_id: int, tokens: int) -> None:
        """Remember the length of an answer: the estimate for the next ones of this key."""
        # Taken out and put back, so that the first of the dict is the key without answers for longest.
        average = self._answers.pop(key_id, None)
        self._answers[key_id] = tokens if average is None else average + (tokens - average) * 0.2
        if len(self._answers) > MOST_ANSWERS:
            del self._answers[next(iter(self._answers))]

    async def settle(self, key_id: int, request_id: str, tokens: int) -> None:
        """End the request's lease and count its tokens. While Redis is away that is put off, and nothing is raised."""
        # First and without a wait: from here on `_keep_leases` must not renew what has ended.
        if held := self._held.get(key_id):
            held.pop(request_id, None)
            if not held:
                del self._held[key_id]
        settlement: list[str | int] = [request_id, tokens, ""]
        try:
            await self._settle(key_id, settlement)
        # Counted here too, since this process may have to enforce the limits alone for a while.
        except (RedisUnavailable, ResponseError):
            self._local[key_id].spend(tokens, time.monotonic())
            self._unsettled.append((key_id, settlement))
            self._start_renewing()

    async def _settle(self, key_id: int, settlement: list[str | int]) -> None:
        """Send a settlement. One that may have run without a reply is marked, so that it is not counted twice."""
        try:
            await self._link.run(SETTLE, redis_keys.limits(key_id), settlement)
        # It surely did not run, so it may be sent as the first time.
        except NotSent:
            raise
        except (RedisUnavailable, ResponseError):
            settlement[2] = "again"
            raise

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._settling.add(task)
        # The set holds the task: the loop itself keeps only a weak reference.
        task.add_done_callback(self._settling.discard)

    def _hold(self, key_id: int, request_id: str, tokens: int) -> None:
        self._held.setdefault(key_id, {})[request_id] = tokens
        self._start_renewing()

    def _start_renewing(self) -> None:
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.get_running_loop().create_task(self._renew_leases())

    async def _renew_leases(self) -> None:
        while self._held or self._unsettled:
            await asyncio.sleep(RENEW)
            # While Redis is away leases cannot be renewed; EXTEND restores them when it is there again.
            with suppress(RedisUnavailable, ResponseError):
                for key_id, held in list(self._held.items()):
                    await self._link.run(EXTEND, redis_keys.limits(key_id)[2:], sorted(held))
                await self._settle_again()

    async def _settle_again(self) -> None:
        """Send the settlements of turns that ended while Redis was away."""
        while self._unsettled:
            ended = self._unsettled[0]
            await self._settle(*ended)
            if self._unsettled and self._unsettled[0] is ended:  # else it has made room for a later one meanwhile
                self._unsettled.popleft()


class _Admission:
    __slots__ = ("_key_id", "_limits", "_prompt", "_request_id")

    def __init__(self, limits: Limits, key_id: int, request_id: str, prompt: int | None) -> None:
        self._limits: Limits | None = limits
        self._key_id = key_id
        self._request_id = request_id
        self._prompt = prompt

    async def release(self, tokens: int = 0) -> None:
        # Before the first wait: two releases at once must not settle twice.
        limits, self._limits = self._limits, None
        if limits is None:
            return
        if self._prompt is not None and tokens > self._prompt:  # else there was no answer
            limits.record_answer(self._key_id, tokens - self._prompt)
        await limits.settle(self._key_id, self._request_id, tokens)


class LocalCounter:
    """Requests and tokens of one key in this process, counted while Redis is away."""

    def __init__(self) -> None:
        self.requests: deque[float] = deque()
        self.tokens: deque[tuple[float, int]] = deque()

    def admit(self, caller: Caller, tokens: int, held: Mapping[str, int], now: float) -> None:
        """Count the request, or raise LimitExceeded. `held`: turns of the key here, with tokens reserved for each."""
        self._forget(now)
        if caller.rpm and (count := len(self.requests)) >= caller.rpm:
            raise LimitExceeded("rpm", caller.rpm, count, self.requests[-caller.rpm] + WINDOW - now)
        if caller.tpm:
            self._require_tokens(caller.tpm, tokens, sum(held.values()), now)
        if caller.concurrency and len(held) >= caller.concurrency:
            raise LimitExceeded("concurrency", caller.concurrency, len(held), 1)
        # Last: a request that another limit refuses is not counted, as in the script.
        if caller.rpm:
            self.requests.append(now)

    def _require_tokens(self, tpm: int, tokens: int, reserved: int, now: float) -> None:
        spent = sum(count for _, count in self.tokens) + reserved
        # With nothing reserved one request may pass the limit: else a prompt larger than it could never be asked.
        if spent >= tpm or (reserved and spent + tokens > tpm):
            raise LimitExceeded("tpm", tpm, spent, self.tokens[0][0] + WINDOW - now if self.tokens else 1)

    def _forget(self, now: float) -> None:
        while self.requests and self.requests[0] <= now - WINDOW:
            self.requests.popleft()
        while self.tokens and self.tokens[0][0] <= now - WINDOW:
            self.tokens.popleft()

    def spend(self, tokens: int, now: float) -> None:
        """Count the tokens of a turn that has ended."""
        self._forget(now)
        if tokens:
            self.tokens.append((now, tokens))
