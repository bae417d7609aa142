"""Prompts that make the service exit: each web process shares what it knows with the others, through Redis."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import msgspec
from redis import ResponseError

from bridge.pool.crashes import LIFETIME_SEC, MOST, Crashes, CrashRecord
from gateway_project.lib import redis_keys
from gateway_project.lib.redis_link import RedisLink, RedisUnavailable, Script

EVERY_SEC = 2.0

# A script, so that writing, forgetting and trimming are one step for all processes.
# KEYS: prompts (hash). ARGV: the time, then pairs of a prompt and what is known of it ("" to forget it).
# Reply: all prompts with what is known of them.
EXCHANGE = Script(f"""
for i = 2, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[1], ARGV[i])
  else
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
    redis.call('EXPIRE', KEYS[1], {LIFETIME_SEC})
  end
end
local all, kept = redis.call('HGETALL', KEYS[1]), {{}}
for i = 1, #all, 2 do
  local at = tonumber(cjson.decode(all[i + 1])[3])
  if at + {LIFETIME_SEC} < tonumber(ARGV[1]) then
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

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(CrashRecord).decode


class CrashExchange:
    """Keeps one process's knowledge up to date. While Redis is away each process knows its own alone."""

    def __init__(self, link: RedisLink, crashes: Crashes) -> None:
        self._link = link
        self._crashes = crashes

    async def follow(self) -> None:
        while True:
            with suppress(RedisUnavailable, ResponseError):
                await self.exchange()
            await asyncio.sleep(EVERY_SEC)

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
