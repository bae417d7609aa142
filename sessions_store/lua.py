"""Lua scripts, which Redis runs in one step: no two turns can hold the same session. Key names: `redis_keys`."""

from gateway_project.lib.redis_keys import SESSION, SESSIONS_OF

MOST_ALIKE = 8
"""Sessions under one fingerprint; the oldest goes."""

MOST_CHECKS = 64
"""API keys whose expired sessions are removed in one call, before the oldest session of all makes room."""

MOST_AT_ONCE = 100
"""Sessions of one key that make room in one step."""

# How many sessions a key has, and whose an entry is.
_KEYS_SESSIONS = """
local function count(sessions, keys, caller)
    local number = redis.call('ZCARD', sessions)
    if number > 0 then redis.call('ZADD', keys, number, caller) else redis.call('ZREM', keys, caller) end
    return number
end
local function caller_of(entry)
    return entry and string.match(entry, '"api_key_id":(%d+)')
end
"""

# KEYS sessions of a key, keys by their sessions; ARGV key.
COUNT = f"{_KEYS_SESSIONS}return count(KEYS[1], KEYS[2], ARGV[1])"

# KEYS those at the fingerprint, index, in use, sessions of the key, keys by their sessions; ARGV fingerprint, now,
# lease s, the two prefixes, key. The entry, or nil.
CLAIM = (
    _KEYS_SESSIONS
    + """
local session = redis.call('RPOP', KEYS[1])
while session do
    local entry = redis.call('GET', ARGV[4] .. session)
    if entry and string.find(entry, '"' .. ARGV[1] .. '"', 1, true) then
        redis.call('DEL', ARGV[4] .. session)
        redis.call('ZREM', KEYS[2], session)
        redis.call('ZREM', KEYS[4], session)
        count(KEYS[4], KEYS[5], ARGV[6])
        if redis.call('EXISTS', ARGV[5] .. session) == 0 then
            redis.call('HSET', KEYS[3], session, (tonumber(ARGV[2]) + tonumber(ARGV[3])) .. ' ' .. entry)
            redis.call('EXPIRE', KEYS[3], ARGV[3])
            return entry
        end
    end
    session = redis.call('RPOP', KEYS[1])
end
return false
"""
)

# What a turn does not need each time costs Redis more than all the rest: the times to live, and looks for what has
# expired, are for a "tidy" call, and room is made for some more at once.
# KEYS entry, those at the fingerprint, index, in use, forgotten, sessions of the key, keys by their sessions; ARGV
# session, now, entry, fingerprint, key, "new" for a session that nobody can have forgotten yet, "tidy", how long sets
# are kept s; of the store: ttl s, most entries, how many more go when some must. How many entries had to go; -1 when
# this one was forgotten while in use.
REMEMBER = (
    _KEYS_SESSIONS
    + f"""
local session, now, entry, fingerprint, caller, new, tidy, kept, ttl, most, spare = unpack(ARGV)
if new == '' then
    redis.call('HDEL', KEYS[4], session)
    if redis.call('EXISTS', KEYS[5]) == 1 then return -1 end
end
redis.call('SET', KEYS[1], entry, 'EX', ttl)
redis.call('ZADD', KEYS[3], now, session)
redis.call('ZADD', KEYS[6], now, session)
local alike = redis.call('RPUSH', KEYS[2], session)
redis.call('EXPIRE', KEYS[2], ttl)
if alike > {MOST_ALIKE} then
    local oldest = redis.call('LPOP', KEYS[2])
    local found = oldest ~= session and redis.call('GET', '{SESSION}' .. oldest)
    if found and string.find(found, '"' .. fingerprint .. '"', 1, true) then
        redis.call('DEL', '{SESSION}' .. oldest)
        redis.call('ZREM', KEYS[3], oldest)
        redis.call('ZREM', KEYS[6], oldest)
    end
end
local expired = '(' .. now - ttl
if tidy ~= '' then redis.call('ZREMRANGEBYSCORE', KEYS[6], '-inf', expired) end
-- A set of one may be a new one, which has no time to live.
if count(KEYS[6], KEYS[7], caller) == 1 or tidy ~= '' then
    for _, set in ipairs({{KEYS[3], KEYS[6], KEYS[7]}}) do redis.call('EXPIRE', set, kept) end
end
if redis.call('ZCARD', KEYS[3]) <= tonumber(most) then return 0 end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', expired)
local excess = redis.call('ZCARD', KEYS[3]) - most
if excess <= 0 then return 0 end
excess = excess + spare
local left, looks = excess, 0
while left > 0 do
    local gone = {{redis.call('ZRANGE', KEYS[3], 0, 0)[1]}}
    if not gone[1] then break end
    local owner = caller_of(redis.call('GET', '{SESSION}' .. gone[1]))
    -- One that nobody counts is the first to go.
    if owner and redis.call('ZSCORE', '{SESSIONS_OF}' .. owner, gone[1]) then
        while looks < {MOST_CHECKS} do
            local largest = redis.call('ZREVRANGE', KEYS[7], 0, 1, 'WITHSCORES')
            local first, size = largest[1], tonumber(largest[2] or 0)
            if size < 2 then break end
            looks = looks + 1
            local sessions = '{SESSIONS_OF}' .. first
            redis.call('ZREMRANGEBYSCORE', sessions, '-inf', expired)
            if count(sessions, KEYS[7], first) == size then
                -- Until it has as few as the next one.
                local more = math.max(1, size - math.max(1, tonumber(largest[4] or 0)))
                local popped = redis.call('ZPOPMIN', sessions, math.min(left, more, {MOST_AT_ONCE}))
                count(sessions, KEYS[7], first)
                gone, owner = {{}}, nil
                for n = 1, #popped, 2 do gone[#gone + 1] = popped[n] end
                break
            end
        end
        if owner then
            redis.call('ZREM', '{SESSIONS_OF}' .. owner, gone[1])
            count('{SESSIONS_OF}' .. owner, KEYS[7], owner)
        end
    end
    redis.call('ZREM', KEYS[3], unpack(gone))
    left = left - #gone
    for n, each in ipairs(gone) do gone[n] = '{SESSION}' .. each end
    redis.call('DEL', unpack(gone))
end
return excess
"""
)

# KEYS entry, index, in use, forgotten, keys by their sessions; ARGV session, ttl s, prefix of sessions of a key.
# 1 when there was something to forget.
FORGET = (
    _KEYS_SESSIONS
    + """
redis.call('SET', KEYS[4], 1, 'EX', ARGV[2])
redis.call('ZREM', KEYS[2], ARGV[1])
local caller = caller_of(redis.call('GET', KEYS[1]))
if caller then
    redis.call('ZREM', ARGV[3] .. caller, ARGV[1])
    count(ARGV[3] .. caller, KEYS[5], caller)
end
local found = redis.call('DEL', KEYS[1]) + redis.call('HDEL', KEYS[3], ARGV[1])
return math.min(found, 1)
"""
)
