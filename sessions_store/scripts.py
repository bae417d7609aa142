"""What Redis does in one step, so that no two turns can ever hold the same session.

`lgw:session:<fingerprint>`        an idle entry as JSON, with a time to live
`lgw:sessions`                     sorted set: fingerprints by last use, for eviction
`lgw:sessions:in_use`              hash: session id to the entry that a running turn took, with the end of its lease
`lgw:session:forgotten:<session>`  an operator gave this session up: it is neither handed out nor remembered again
"""

PREFIX = "lgw:session:"
INDEX = "lgw:sessions"
IN_USE = "lgw:sessions:in_use"
FORGOTTEN = "lgw:session:forgotten:"

# KEYS entry, index, in use; ARGV fingerprint, now, lease s, the two prefixes. The entry, or nil.
CLAIM = """
local entry = redis.call('GET', KEYS[1])
if not entry then return false end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
local session = cjson.decode(entry)['session_id']
if redis.call('EXISTS', ARGV[4] .. session) == 1 then return false end
redis.call('HSET', KEYS[3], session, (tonumber(ARGV[2]) + tonumber(ARGV[3])) .. ' ' .. entry)
redis.call('EXPIRE', KEYS[3], ARGV[3])
return entry
"""

# KEYS entry, index, in use, forgotten; ARGV fingerprint, now, ttl s, most entries, prefix, session id, entry.
# How many entries had to go; -1 when this one was forgotten while in use.
REMEMBER = """
redis.call('HDEL', KEYS[3], ARGV[6])
if redis.call('EXISTS', KEYS[4]) == 1 then return -1 end
redis.call('SET', KEYS[1], ARGV[7], 'EX', ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. (tonumber(ARGV[2]) - tonumber(ARGV[3])))
local excess = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[4])
if excess <= 0 then return 0 end
local oldest = redis.call('ZPOPMIN', KEYS[2], excess)
for i = 1, #oldest, 2 do redis.call('DEL', ARGV[5] .. oldest[i]) end
return excess
"""

# KEYS entry, index, in use, forgotten; ARGV fingerprint, session id, ttl s. 1 when there was something to forget.
FORGET = """
redis.call('SET', KEYS[4], 1, 'EX', ARGV[3])
redis.call('ZREM', KEYS[2], ARGV[1])
local found = redis.call('DEL', KEYS[1]) + redis.call('HDEL', KEYS[3], ARGV[2])
return math.min(found, 1)
"""
