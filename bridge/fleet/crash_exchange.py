"""Prompts that make the service exit: each web process shares what it knows with the others, through Redis."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import msgspec
from redis import ResponseError

from bridge.pool.crashes import LIFETIME_SEC, MOST, MOST_SEEN, Crashes, CrashRecord, LocalRetestLocks
from gateway_project.lib.background import until_next
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.redis.redis_link import SKEW_SEC, RedisLink, RedisUnavailable, Script

EVERY_SEC = 0.5
"""What is known here is sent at once; so long a prompt may go on costing instances elsewhere."""
RETEST_SEC = 60
"""Of a process that has died a prompt is free after that."""

# A script, so that writing, forgetting and trimming are one step for all processes.
# KEYS: prompts (hash). ARGV: the time, then pairs of a prompt and what is known of it ("" to forget it).
# Reply: all prompts with what is known of them.
# What two processes have seen at once is added up: [1] exits, [2] proven, [3] at, [5] blamed, [6] blamed_at, [7] seen.
EXCHANGE = Script(f"""
local function together(before, now)
  if not before then return now end
  local old, new = cjson.decode(before), cjson.decode(now)
  if not (old[7] and new[7]) then return now end
  local known, missing = {{}}, {{}}
  for _, each in ipairs(new[7]) do known[each[1]] = each end
  for _, each in ipairs(old[7]) do
    local ours = known[each[1]]
    if ours then ours[2] = ours[2] or each[2] else missing[#missing + 1] = each end
  end
  new[1], new[2] = new[1] + #missing, new[2] or old[2]
  if (old[6] or 0) > (new[6] or 0) then new[5], new[6] = old[5], old[6] end
  for i, each in ipairs(missing) do table.insert(new[7], i, each) end
  while #new[7] > {MOST_SEEN} do table.remove(new[7], 1) end
  return cjson.encode(new)
end
for i = 2, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[1], ARGV[i])
  else
    redis.call('HSET', KEYS[1], ARGV[i], together(redis.call('HGET', KEYS[1], ARGV[i]), ARGV[i + 1]))
    redis.call('EXPIRE', KEYS[1], {LIFETIME_SEC})
  end
end
local all, kept = redis.call('HGETALL', KEYS[1]), {{}}
for i = 1, #all, 2 do
  local at = tonumber(cjson.decode(all[i + 1])[3])
  if at + {LIFETIME_SEC} < tonumber(ARGV[1]) or at > tonumber(ARGV[1]) + {SKEW_SEC} then
    redis.call('HDEL', KEYS[1], all[i])
  else
    kept[#kept + 1] = {{all[i], all[i + 1], at}}
  end
end
table.sort(kept, function(a, b) return a[3] < b[3] end)
local counts = {{}}
local function key_of(each) return string.match(each[1], '^[^:]*') end
for _, each in ipairs(kept) do counts[key_of(each)] = (counts[key_of(each)] or 0) + 1 end
while #kept > {MOST} do
  local most = 0
  for _, count in pairs(counts) do most = math.max(most, count) end
  for i, each in ipairs(kept) do
    if counts[key_of(each)] == most then
      counts[key_of(each)] = most - 1
      redis.call('HDEL', KEYS[1], each[1])
      table.remove(kept, i)
      break
    end
  end
end
local reply = {{}}
for _, each in ipairs(kept) do
  reply[#reply + 1] = each[1]
  reply[#reply + 1] = each[2]
end
return reply
""")

# KEYS: who asks the prompt. ARGV: the turn, and for how long. Reply: whether it is the one.
BEGIN = Script("""
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
""")
END = Script("if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(CrashRecord).decode


class CrashExchange:
    """Keeps one process's knowledge up to date. While Redis is away each process knows its own alone."""

    def __init__(self, link: RedisLink, crashes: Crashes) -> None:
        self._link = link
        self._crashes = crashes
        self._noted = asyncio.Event()
        crashes.on_note = self._noted.set

    async def follow(self) -> None:
        while True:
            self._noted.clear()
            await self.try_to_exchange()
            with suppress(TimeoutError):
                async with asyncio.timeout(until_next(EVERY_SEC)):
                    await self._noted.wait()

    async def try_to_exchange(self) -> None:
        """Redis may be away."""
        with suppress(RedisUnavailable, ResponseError):
            await self.exchange()

    async def exchange(self) -> None:
        # A copy: while Redis is asked, prompts may be noted or cleared.
        changes = dict(self._crashes.unsent)
        args = [str(time.time())]
        for name, record in changes.items():
            args += [name, "" if record is None else _encode(record).decode()]
        reply: list[bytes] = await self._link.run(EXCHANGE, [redis_keys.CRASHES], args)
        for name, record in changes.items():
            # Only what was sent. A newer note of the same prompt waits for the next exchange.
            if self._crashes.unsent.get(name) is record:
                self._crashes.unsent.pop(name, None)
        records: dict[str, CrashRecord] = {}
        for prompt, encoded in zip(reply[::2], reply[1::2], strict=True):
            with suppress(msgspec.DecodeError):  # of another version of the gateway
                records[prompt.decode()] = _decode(encoded)
        self._crashes.merge(records)


class RedisRetestLocks:
    """`RetestLocks` of all processes. While Redis is away each has its own alone."""

    def __init__(self, link: RedisLink, exchange: CrashExchange) -> None:
        self._link = link
        self._exchange = exchange
        self._own = LocalRetestLocks()

    async def begin(self, name: str, turn: str) -> bool:
        if not await self._own.begin(name, turn):
            return False
        try:
            may = bool(await self._link.run(BEGIN, [redis_keys.RETEST + name], [turn, RETEST_SEC]))
        except (RedisUnavailable, ResponseError):
            return True
        if not may:
            await self._own.end(name, turn)
        await self._exchange.try_to_exchange()
        return may

    async def end(self, name: str, turn: str) -> None:
        await self._exchange.try_to_exchange()
        with suppress(RedisUnavailable, ResponseError):
            await self._link.run(END, [redis_keys.RETEST + name], [turn])
        await self._own.end(name, turn)
