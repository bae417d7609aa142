"""Lua scripts, which Redis runs in one step: no two turns can hold the same session. Key names: `redis_keys`."""

MOST_ALIKE = 8
"""Sessions under one fingerprint; the oldest goes."""

MOST_CHECKS = 64
"""API keys whose expired sessions are removed in one call, before the oldest session of all makes room."""

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

# KEYS entry, those at the fingerprint, index, in use, forgotten, sessions of the key, keys by their sessions; ARGV
# session, now, ttl s, most entries, prefix, entry, fingerprint, most alike, key, prefix of sessions of a key, most
# looks. How many entries had to go; -1 when this one was forgotten while in use.
REMEMBER = (
    _KEYS_SESSIONS
    + """
redis.call('HDEL', KEYS[4], ARGV[1])
if redis.call('EXISTS', KEYS[5]) == 1 then return -1 end
redis.call('SET', KEYS[1], ARGV[6], 'EX', ARGV[3])
redis.call('ZADD', KEYS[3], ARGV[2], ARGV[1])
redis.call('EXPIRE', KEYS[3], ARGV[3])
redis.call('ZADD', KEYS[6], ARGV[2], ARGV[1])
redis.call('EXPIRE', KEYS[6], ARGV[3])
if redis.call('RPUSH', KEYS[2], ARGV[1]) > tonumber(ARGV[8]) then
    local oldest = redis.call('LPOP', KEYS[2])
    local entry = oldest ~= ARGV[1] and redis.call('GET', ARGV[5] .. oldest)
    if entry and string.find(entry, '"' .. ARGV[7] .. '"', 1, true) then
        redis.call('DEL', ARGV[5] .. oldest)
        redis.call('ZREM', KEYS[3], oldest)
        redis.call('ZREM', KEYS[6], oldest)
    end
end
redis.call('EXPIRE', KEYS[2], ARGV[3])
local expired = '(' .. (tonumber(ARGV[2]) - tonumber(ARGV[3]))
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', expired)
redis.call('ZREMRANGEBYSCORE', KEYS[6], '-inf', expired)
count(KEYS[6], KEYS[7], ARGV[9])
redis.call('EXPIRE', KEYS[7], ARGV[3])
local excess = redis.call('ZCARD', KEYS[3]) - tonumber(ARGV[4])
if excess <= 0 then return 0 end
local looks = 0
for i = 1, excess do
    local session = redis.call('ZRANGE', KEYS[3], 0, 0)[1]
    local caller = session and caller_of(redis.call('GET', ARGV[5] .. session))
    if caller and redis.call('ZSCORE', ARGV[10] .. caller, session) then session = nil end -- else nobody counts it
    while not session and looks < tonumber(ARGV[11]) do
        local first = redis.call('ZREVRANGE', KEYS[7], 0, 0, 'WITHSCORES')
        if not first[1] or tonumber(first[2]) < 2 then break end
        looks = looks + 1
        local sessions = ARGV[10] .. first[1]
        redis.call('ZREMRANGEBYSCORE', sessions, '-inf', expired)
        if count(sessions, KEYS[7], first[1]) == tonumber(first[2]) then
            session = redis.call('ZPOPMIN', sessions)[1]
            count(sessions, KEYS[7], first[1])
        end
    end
    if not session then
        session = redis.call('ZPOPMIN', KEYS[3])[1]
        if not session then break end
        caller = caller_of(redis.call('GET', ARGV[5] .. session))
        if caller then
            redis.call('ZREM', ARGV[10] .. caller, session)
            count(ARGV[10] .. caller, KEYS[7], caller)
        end
    end
    redis.call('ZREM', KEYS[3], session)
    redis.call('DEL', ARGV[5] .. session)
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
