"""What is done in Redis in one step: admit a request, settle a turn, renew leases, take over what the ledger knows.

A count, a comparison and a reservation by separate commands would race with those of other requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack, unpack
from typing import Final

from gateway_project.lib.redis.redis_link import Script

WINDOW: Final = 60  # seconds
SLICE: Final = 5  # tokens are counted per this many seconds
LEASE: Final = 5  # how long a turn of a killed process holds its place, and what it has reserved
REQUESTS_KEPT: Final = 2 * WINDOW + 1
"""Seconds: from the first request of a slot of WINDOW on until its last one does not count any more."""
TURNS_KEPT: Final = 60
"""Seconds that what turns hold outlives the last turn that came where none ran, or was renewed: many renewals."""
KEPT_AFTER: Final = 7200  # seconds that a budget outlives its period: turns that began in it may end later
SHADOW_KEPT: Final = 8 * 86400

KEYS_EACH: Final = 7
ARGS_EACH: Final = 2
SEEN_EACH: Final = 13
MISSING: Final = 11
RESERVED: Final = 12
"""Where, among the numbers of a scope, the bits of incomplete periods stand, and the tokens that are only reserved."""

# KEYS: for each scope requests (zset, request by time), tokens (hash, sum by slice), turns (zset, request by end of
#   lease), reserved (hash, tokens by request), and its day, week and month (hash: requests, tokens, since when they are
#   counted, and whether the ledger's have been added); then counts of the shadow limits (hash).
# ARGV: for each scope its nine limits and when day, week and month end, as `numbers_in` packs them, and a letter and
#   which of the limits are shadows; then key, mode, request, tokens to reserve, and when it started. Mode `turn` counts
#   all, `count` requests per minute alone, and `look` nothing.
# Reply, for `numbers_of`: whose limit refuses (from 0, -1 for none), which (from 1), for how many ms; then for each
#   scope: requests in the window and ms until there are none, tokens in it likewise, turns, requests of day, week and
#   month, tokens of them, bits for the periods that lack what the ledger knows, and how many of the tokens are only
#   reserved. Of limits that refuse the one that lasts longest.
# What lies in the future comes from before a step of the clock: it would count until that time comes again.
# A command costs Redis 3 µs here, and there are two scopes: what says nothing new is not asked. A time to live is set
# by the first of what it is for: of the requests of a slot of WINDOW, of the turns that run, of a budget.
ADMIT: Final = Script(f"""
local call = redis.call
local clock = call('TIME')
local now = clock[1] + clock[2] / 1000000
local scopes = (#KEYS - 1) / {KEYS_EACH}
local key, mode, request, estimate, started = unpack(ARGV, scopes * {ARGS_EACH} + 1)
local since = started
estimate, started = tonumber(estimate), tonumber(started)
local refusal, would, seen, plans = {{-1, 0, 0}}, {{}}, {{}}, {{}}
local s, k, mask, reserved

local function over(limit, wait)
  if mode == 'look' or (mode == 'count' and limit > 1) then return end
  -- "1": a shadow, which is counted below and refuses nobody
  if string.byte(mask, limit + 1) == 49 then
    would[#would + 1] = string.sub(mask, 1, 1) .. ':' .. limit
  elseif refusal[1] < 0 or wait > refusal[3] then
    refusal = {{s, limit, wait}}
  end
end
local function forget(min, max)
  for _, each in ipairs(call('ZRANGEBYSCORE', KEYS[k + 3], min, max)) do
    call('HDEL', KEYS[k + 4], each)
  end
  call('ZREMRANGEBYSCORE', KEYS[k + 3], min, max)
end
-- Beside others it must fit with what they have reserved; alone, as long as anything is left. What is reserved may be
-- given back at any moment, so a long wait is only for what is really spent.
local function fits(most)
  if reserved > 0 then return math.min(most - 1, most - estimate) end
  return most - 1
end

for scope = 0, scopes - 1 do
  s, k = scope, scope * {KEYS_EACH}
  local a, at = s * {ARGS_EACH}, s * {SEEN_EACH}
  -- the limits, and from 10 on the ends
  local size, budgets = {{struct.unpack('<{"i8" * 12}', ARGV[a + 1])}}, false
  mask, reserved = ARGV[a + 2], 0
  for i = 1, {SEEN_EACH} do seen[at + i] = 0 end
  for i = 4, 9 do budgets = budgets or size[i] > 0 end
  local plan = {{size = size, budgets = budgets, held = budgets or size[2] > 0 or size[3] > 0, since = {{}}}}
  plans[s] = plan

  if size[1] > 0 then
    call('ZREMRANGEBYSCORE', KEYS[k + 1], '-inf', now - {WINDOW})
    local newest = tonumber(call('ZRANGE', KEYS[k + 1], -1, -1, 'WITHSCORES')[2])
    if newest and newest >= now + 1 then
      call('ZREMRANGEBYSCORE', KEYS[k + 1], now + 1, '+inf')
      newest = tonumber(call('ZRANGE', KEYS[k + 1], -1, -1, 'WITHSCORES')[2])
    end
    plan.newest = newest or 0
    if newest then
      local count = call('ZCARD', KEYS[k + 1])
      seen[at + 1], seen[at + 2] = count, (newest + {WINDOW} - now) * 1000
      if count >= size[1] then
        local oldest = call('ZRANGE', KEYS[k + 1], -size[1], -size[1], 'WITHSCORES')
        over(1, oldest[2] + {WINDOW} - now)
      end
    end
  end
  if plan.held then
    plan.turns, plan.reserving = call('ZCARD', KEYS[k + 3]), 0
    if plan.turns > 0 and call('ZCOUNT', KEYS[k + 3], '(' .. now, '(' .. now + {LEASE + 1}) < plan.turns then
      forget('-inf', now)
      forget(now + {LEASE + 1}, '+inf')
      plan.turns = call('ZCARD', KEYS[k + 3])
    end
    if plan.turns > 0 and (size[2] > 0 or size[7] > 0 or size[8] > 0 or size[9] > 0) then
      local each = call('HVALS', KEYS[k + 4])
      plan.reserving = #each
      for i = 1, #each do reserved = reserved + each[i] end
      seen[at + 13] = reserved
    end
  end
  if size[2] > 0 then
    local sum, slices, newest = reserved, call('HGETALL', KEYS[k + 2]), now - {WINDOW}
    for i = 1, #slices, 2 do
      local start = tonumber(slices[i])
      if start <= now - {WINDOW} or start > now + 1 then
        call('HDEL', KEYS[k + 2], slices[i])
        slices[i + 1] = 0
      else
        sum = sum + slices[i + 1]
        if start > newest then newest = start end
      end
    end
    -- what is reserved will be spent at the earliest now
    if reserved > 0 then newest = now end
    seen[at + 3], seen[at + 4] = sum, (newest + {WINDOW} - now) * 1000
    if sum > fits(size[2]) then
      local kept, wait, spent = {{}}, 1, sum - reserved
      for i = 1, #slices, 2 do kept[#kept + 1] = {{tonumber(slices[i]), tonumber(slices[i + 1])}} end
      table.sort(kept, function(a, b) return a[1] < b[1] end)
      for _, slice in ipairs(kept) do
        if spent < size[2] then break end
        spent, wait = spent - slice[2], slice[1] + {WINDOW} - now
      end
      over(2, wait)
    end
  end
  if size[3] > 0 then
    seen[at + 5] = plan.turns
    if plan.turns >= size[3] then over(3, 1) end
  end
  for p = 1, 3 do
    local requests, tokens = size[3 + p], size[6 + p]
    if requests > 0 or tokens > 0 then
      local stored = call('HMGET', KEYS[k + 4 + p], 'requests', 'tokens', 'filled', 'since')
      local asked, spent = tonumber(stored[1] or 0), tonumber(stored[2] or 0)
      seen[at + 5 + p], seen[at + 8 + p] = asked, spent + reserved
      if not stored[3] then seen[at + 12] = seen[at + 12] + 2 ^ (p - 1) end
      -- the earliest start of what is counted here, up to which the ledger is asked
      if not stored[4] then
        plan.since[p] = 'first'
      elseif not stored[3] and started < tonumber(stored[4]) then
        plan.since[p] = 'earlier'
      end
      local wait = size[9 + p] - started
      if requests > 0 and asked >= requests then over(3 + p, wait) end
      if tokens > 0 and spent + reserved > fits(tokens) then over(6 + p, spent < tokens and 1 or wait) end
    end
  end
end

local admitted = mode ~= 'look' and refusal[1] < 0
for s = 0, admitted and scopes - 1 or -1 do
  local k, at, plan = s * {KEYS_EACH}, s * {SEEN_EACH}, plans[s]
  local size = plan.size
  if size[1] > 0 then
    call('ZADD', KEYS[k + 1], now, request)
    if math.floor(plan.newest / {WINDOW}) < math.floor(now / {WINDOW}) then
      call('EXPIRE', KEYS[k + 1], {REQUESTS_KEPT})
    end
    seen[at + 1], seen[at + 2] = seen[at + 1] + 1, {WINDOW * 1000}
  end
  if plan.held and mode == 'turn' then
    call('ZADD', KEYS[k + 3], now + {LEASE}, request)
    if plan.turns == 0 then call('EXPIRE', KEYS[k + 3], {TURNS_KEPT}) end
    seen[at + 5] = seen[at + 5] + 1
    if plan.budgets or size[2] > 0 then
      call('HSET', KEYS[k + 4], request, estimate)
      if plan.reserving == 0 then call('EXPIRE', KEYS[k + 4], {TURNS_KEPT}) end
      seen[at + 3], seen[at + 4] = seen[at + 3] + estimate, {WINDOW * 1000}
      seen[at + 13] = seen[at + 13] + estimate
    end
    for p = 1, 3 do
      if size[3 + p] > 0 or size[6 + p] > 0 then
        local name = KEYS[k + 4 + p]
        call('HINCRBY', name, 'requests', 1)
        if plan.since[p] then call('HSET', name, 'since', since) end
        if plan.since[p] == 'first' then
          call('EXPIRE', name, math.ceil(size[9 + p] - started) + {KEPT_AFTER})
        end
        seen[at + 5 + p], seen[at + 8 + p] = seen[at + 5 + p] + 1, seen[at + 8 + p] + estimate
      end
    end
  end
end
if admitted and #would > 0 then
  call('HINCRBY', KEYS[#KEYS], key, 1)
  for _, limit in ipairs(would) do call('HINCRBY', KEYS[#KEYS], key .. ':' .. limit, 1) end
  call('EXPIRE', KEYS[#KEYS], {SHADOW_KEPT})
end
local reply = {{refusal[1], refusal[2], math.ceil(refusal[3] * 1000)}}
for i = 1, #seen do reply[3 + i] = math.ceil(seen[i]) end
-- as one string, as what is asked: thirty numbers are as dear as two writes, here and where they are read
return struct.pack('<' .. string.rep('i8', #reply), unpack(reply))
""")


def numbers_in(sizes: Sequence[int], ends: Sequence[int]) -> bytes:
    """Limits of a scope, and ends of its periods, for ADMIT."""
    return pack("<12q", *sizes, *ends)


def numbers_of(reply: bytes) -> tuple[int, ...]:
    """Of a reply of ADMIT."""
    return unpack(f"<{len(reply) // 8}q", reply)


# KEYS as above, without the shadows. ARGV: for each scope which of its nine limits there are, as "0" and "1"; then
# request, tokens, "again" for one that may have been settled already (only its lease shows which), when it started,
# "alone" for one that Redis may not have counted. A budget counts what has started since its beginning; what started
# before is the ledger's, until that has been added. "late" for a turn that was settled before: tokens is what is to be
# added, or taken away, and the last argument when it was settled; tokens of a minute that is over are left alone.
# Reply: the time.
SETTLE: Final = Script(f"""
local now = tonumber(redis.call('TIME')[1])
local scopes = #KEYS / {KEYS_EACH}
local request, tokens, again, started, alone = unpack(ARGV, scopes + 1)
local late, slice = again == 'late', now - now % {SLICE}
if late then slice = alone - alone % {SLICE} end
tokens, started, alone = tonumber(tokens), tonumber(started), alone == 'alone'
for s = 0, scopes - 1 do
  local k, mask = s * {KEYS_EACH}, ARGV[s + 1]
  local function limited(place) return string.byte(mask, place) == 49 end
  local leased, counted = 0, 1
  if not late then
    leased = redis.call('ZREM', KEYS[k + 3], request)
    counted = redis.call('HDEL', KEYS[k + 4], request)
  end
  if late or again == '' or leased == 1 then
    if limited(2) then
      if not late and tokens > 0 then
        -- The first of a slice has the others live long enough, too.
        if redis.call('HINCRBY', KEYS[k + 2], slice, tokens) == tokens then
          redis.call('EXPIRE', KEYS[k + 2], {WINDOW + SLICE})
        end
      elseif late and redis.call('HEXISTS', KEYS[k + 2], slice) == 1 then
        redis.call('HINCRBY', KEYS[k + 2], slice, tokens)
      end
    end
    if alone and limited(1) and started > now - {WINDOW} then
      redis.call('ZADD', KEYS[k + 1], started, request)
      redis.call('EXPIRE', KEYS[k + 1], {REQUESTS_KEPT})
    end
    for p = 1, 3 do
      if limited(3 + p) or limited(6 + p) then
        local name = KEYS[k + 4 + p]
        local stored = redis.call('HMGET', name, 'since', 'filled')
        local before = stored[1] and started < tonumber(stored[1])
        if stored[1] and (stored[2] or not before) then
          redis.call('HINCRBY', name, 'tokens', tokens)
          if (alone or before) and counted == 0 then redis.call('HINCRBY', name, 'requests', 1) end
        end
      end
    end
  end
end
return now
""")

# KEYS: turns, reserved. ARGV: how many requests follow whose lease goes on, also those that Redis has lost or never
# got; these, and then requests that another process may have settled, whose lease goes on if there is one.
EXTEND: Final = Script(f"""
local now = tonumber(redis.call('TIME')[1])
for n = 2, #ARGV do
  if n <= ARGV[1] + 1 then
    redis.call('ZADD', KEYS[1], now + {LEASE}, ARGV[n])
  else
    redis.call('ZADD', KEYS[1], 'XX', now + {LEASE}, ARGV[n])
  end
end
redis.call('EXPIRE', KEYS[1], {TURNS_KEPT})
redis.call('EXPIRE', KEYS[2], {TURNS_KEPT})
""")

# KEYS: a day, week or month. ARGV: the time, and for how many seconds it is kept. Begins to count, if nobody has.
BEGIN: Final = Script("""
if redis.call('HSETNX', KEYS[1], 'since', ARGV[1]) == 1 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
""")

# KEYS: a day, week or month. ARGV: since when it was counted as the ledger was read, requests and tokens of before.
# Reply: 1 when they have been added, 0 when there is nothing to add to, or it has been counted since another time.
FILL: Final = Script("""
local stored = redis.call('HMGET', KEYS[1], 'since', 'filled')
if stored[1] ~= ARGV[1] or stored[2] then return 0 end
redis.call('HINCRBY', KEYS[1], 'requests', ARGV[2])
redis.call('HINCRBY', KEYS[1], 'tokens', ARGV[3])
redis.call('HSET', KEYS[1], 'filled', 1)
return 1
""")
