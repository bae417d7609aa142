"""What Redis does in one step, so that no two turns can ever hold the same session. Names: `redis_keys`."""

MOST_ALIKE = 8
"""Sessions under one fingerprint; the oldest goes."""

# KEYS those at the fingerprint, index, in use; ARGV fingerprint, now, lease s, the two prefixes. The entry, or nil.
CLAIM = """
local session = redis.call('RPOP', KEYS[1])
while session do
    local entry = redis.call('GET', ARGV[4] .. session)
    if entry and string.find(entry, '"' .. ARGV[1] .. '"', 1, true) then
        redis.call('DEL', ARGV[4] .. session)
        redis.call('ZREM', KEYS[2], session)
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

# KEYS entry, those at the fingerprint, index, in use, forgotten; ARGV session, now, ttl s, most entries, prefix,
# entry, fingerprint, most alike. How many entries had to go; -1 when this one was forgotten while in use.
REMEMBER = """
redis.call('HDEL', KEYS[4], ARGV[1])
if redis.call('EXISTS', KEYS[5]) == 1 then return -1 end
redis.call('SET', KEYS[1], ARGV[6], 'EX', ARGV[3])
redis.call('ZADD', KEYS[3], ARGV[2], ARGV[1])
redis.call('EXPIRE', KEYS[3], ARGV[3])
if redis.call('RPUSH', KEYS[2], ARGV[1]) > tonumber(ARGV[8]) then
    local oldest = redis.call('LPOP', KEYS[2])
    local entry = oldest ~= ARGV[1] and redis.call('GET', ARGV[5] .. oldest)
    if entry and string.find(entry, '"' .. ARGV[7] .. '"', 1, true) then
        redis.call('DEL', ARGV[5] .. oldest)
        redis.call('ZREM', KEYS[3], oldest)
    end
end
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', '(' .. (tonumber(ARGV[2]) - tonumber(ARGV[3])))
local excess = redis.call('ZCARD', KEYS[3]) - tonumber(ARGV[4])
if excess <= 0 then return 0 end
local gone = redis.call('ZPOPMIN', KEYS[3], excess)
for i = 1, #gone, 2 do redis.call('DEL', ARGV[5] .. gone[i]) end
return excess
"""

# KEYS entry, index, in use, forgotten; ARGV session, ttl s. 1 when there was something to forget.
FORGET = """
redis.call('SET', KEYS[4], 1, 'EX', ARGV[2])
redis.call('ZREM', KEYS[2], ARGV[1])
local found = redis.call('DEL', KEYS[1]) + redis.call('HDEL', KEYS[3], ARGV[1])
return math.min(found, 1)
"""
