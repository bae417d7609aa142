"""Lua scripts, which Redis runs in one step: no two turns can hold the same session. Key names: `redis_keys`."""

from gateway_project.lib.redis.redis_keys import SESSION, SESSION_FORGOTTEN, SESSIONS_AT, SESSIONS_OF
from gateway_project.lib.redis.redis_link import SKEW_SEC

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
# expired, are for a "tidy" call, and room is made for some more at once. What only the rare end of the script uses is
# made there: functions and texts of numbers took a tenth of the time of a usual turn.
# KEYS index, in use, keys by their sessions; ARGV how long sets are kept s, ttl s, most entries, how many more go when
# some must; then session, now, entry, fingerprint, key, "new" for a session that nobody can have forgotten yet, "tidy".
# How many entries had to go; -1 when this one was forgotten while in use. The other names are made here: in front of
# what each call has of its own stands what all of them have in common, which is packed once.
REMEMBER = (
    f"""
local call = redis.call
local kept, ttl, most, spare, session, now, entry, fingerprint, caller, new, tidy = unpack(ARGV)
local index, keys, own, at = KEYS[1], KEYS[3], '{SESSIONS_OF}' .. caller, '{SESSIONS_AT}' .. fingerprint
if new == '' then
    call('HDEL', KEYS[2], session)
    if call('EXISTS', '{SESSION_FORGOTTEN}' .. session) == 1 then return -1 end
end
call('SET', '{SESSION}' .. session, entry, 'EX', ttl)
call('ZADD', index, now, session)
call('ZADD', own, now, session)
local alike = call('RPUSH', at, session)
call('EXPIRE', at, ttl)
if alike > {MOST_ALIKE} then
    local oldest = call('LPOP', at)
    local found = oldest ~= session and call('GET', '{SESSION}' .. oldest)
    if found and string.find(found, '"' .. fingerprint .. '"', 1, true) then
        call('DEL', '{SESSION}' .. oldest)
        call('ZREM', index, oldest)
        call('ZREM', own, oldest)
    end
end
if tidy ~= '' then
    call('ZREMRANGEBYSCORE', own, '-inf', '(' .. now - ttl)
    call('ZREMRANGEBYSCORE', own, '(' .. now + {SKEW_SEC}, '+inf')
end
local number = call('ZCARD', own)
call('ZADD', keys, number, caller)
-- A set of one may be a new one, which has no time to live.
if number == 1 or tidy ~= '' then
    for _, set in ipairs({{index, own, keys}}) do call('EXPIRE', set, kept) end
end
if call('ZCARD', index) <= tonumber(most) then return 0 end
"""
    + _KEYS_SESSIONS
    + f"""
local expired = '(' .. now - ttl
local future = '(' .. now + {SKEW_SEC}
redis.call('ZREMRANGEBYSCORE', index, '-inf', expired)
redis.call('ZREMRANGEBYSCORE', index, future, '+inf')
local excess = redis.call('ZCARD', index) - most
if excess <= 0 then return 0 end
excess = excess + spare
local left, looks = excess, 0
while left > 0 do
    local gone = {{redis.call('ZRANGE', index, 0, 0)[1]}}
    if not gone[1] then break end
    local owner = caller_of(redis.call('GET', '{SESSION}' .. gone[1]))
    -- One that nobody counts is the first to go.
    if owner and redis.call('ZSCORE', '{SESSIONS_OF}' .. owner, gone[1]) then
        while looks < {MOST_CHECKS} do
            local largest = redis.call('ZREVRANGE', keys, 0, 1, 'WITHSCORES')
            local first, size = largest[1], tonumber(largest[2] or 0)
            if size < 2 then break end
            looks = looks + 1
            local sessions = '{SESSIONS_OF}' .. first
            redis.call('ZREMRANGEBYSCORE', sessions, '-inf', expired)
            if count(sessions, keys, first) == size then
                -- Until it has as few as the next one.
                local more = math.max(1, size - math.max(1, tonumber(largest[4] or 0)))
                local popped = redis.call('ZPOPMIN', sessions, math.min(left, more, {MOST_AT_ONCE}))
                count(sessions, keys, first)
                gone, owner = {{}}, nil
                for n = 1, #popped, 2 do gone[#gone + 1] = popped[n] end
                break
            end
        end
        if owner then
            redis.call('ZREM', '{SESSIONS_OF}' .. owner, gone[1])
            count('{SESSIONS_OF}' .. owner, keys, owner)
        end
    end
    redis.call('ZREM', index, unpack(gone))
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
