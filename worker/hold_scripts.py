"""The steps of a held job, each a script that Redis runs as one: see worker/holds.py for what they are for."""

from __future__ import annotations

from common.requeue import NOW, TO_QUEUE

# Before every script on a queue's jobs. A token that is not a job's holder's any more changes nothing.
PLACES = """
local leases, holders, waiting, taken, started, failed, failed_at, finished, counters = unpack(KEYS)
local function let_go(ids)
    redis.call('ZREM', leases, unpack(ids))
    redis.call('HDEL', holders, unpack(ids))
end
local function still_held(token, ids)
    local owners, mine = redis.call('HMGET', holders, unpack(ids)), {}
    for place, id in ipairs(ids) do
        if owners[place] == token then mine[#mine + 1] = id end
    end
    return mine
end
local function given_up(token, ids)
    local mine = still_held(token, ids)
    if #mine > 0 then let_go(mine) end
    return mine
end
"""

# For every script that makes a failed job of one: it is kept for ever, and whoever puts it back has mended something, so its
# deaths are forgotten.
TO_FAILED = """
local function to_failed(id, now, meta, failed_seconds)
    local key = 'rq:job:' .. id
    redis.call('HSET', key, 'status', 'failed', 'ended_at', now, 'meta', meta)
    redis.call('HDEL', key, 'deaths')
    redis.call('PERSIST', key)
    redis.call('ZADD', failed, -1, id)
    redis.call('ZADD', failed_at, failed_seconds, id)
    redis.call('HINCRBY', counters, 'refused', 1)
end
"""

# ARGV: token, seconds of a lease, the job that RQ took, room for CDRs or recordings, most jobs, most bytes. From the head of the queue
# it takes along what says how many it carries, and what no worker has died of. A job that was put back meanwhile, or of which
# another holds a second copy, is none of ours.
TAKE = (
    PLACES
    + NOW
    + """
if redis.call('LREM', taken, 1, ARGV[3]) == 0 then return {} end
local ids, known, room = {ARGV[3]}, {[ARGV[3]] = true}, tonumber(ARGV[4])
local bytes = redis.call('HSTRLEN', 'rq:job:' .. ARGV[3], 'data')
while room > 0 and #ids < tonumber(ARGV[5]) do
    local id = redis.call('LINDEX', waiting, 0)
    if not id or string.find(id, '[^%w_-]') then break end
    local fields = redis.pcall('HMGET', 'rq:job:' .. id, 'cdrs', 'recordings', 'deaths')
    local count = fields[1] or fields[2]
    local size = count and string.match(count, '^%d+$') and tonumber(count)
    if not size or fields[3] or size > room then break end
    bytes = bytes + redis.call('HSTRLEN', 'rq:job:' .. id, 'data')
    if bytes > tonumber(ARGV[6]) then break end
    redis.call('LPOP', waiting)
    if not known[id] then ids[#ids + 1] = id end
    known[id] = true
    room = room - size
end
local now, ours, leased, held = seconds(), {}, {}, {}
for place, ends in ipairs(redis.call('ZMSCORE', leases, unpack(ids))) do
    if not ends or tonumber(ends) <= now then
        local id = ids[place]
        ours[#ours + 1] = id
        leased[#leased + 1], leased[#leased + 2] = now + tonumber(ARGV[2]), id
        held[#held + 1], held[#held + 2] = id, ARGV[1]
    end
end
if #ours > 0 then
    redis.call('ZADD', leases, unpack(leased))
    redis.call('HSET', holders, unpack(held))
end
return ours
"""
)

# ARGV: token, seconds of a lease, ids. Returns how many are held still.
RENEW = (
    PLACES
    + NOW
    + """
local mine = still_held(ARGV[1], {unpack(ARGV, 3)})
local ends = seconds() + tonumber(ARGV[2])
for _, id in ipairs(mine) do redis.call('ZADD', leases, ends, id) end
return #mine
"""
)

# ARGV: token, id, worker's name, now as text, seconds that the registry keeps it.
START = (
    PLACES
    + NOW
    + """
if #still_held(ARGV[1], {ARGV[2]}) == 0 then return 0 end
redis.call('HSET', 'rq:job:' .. ARGV[2], 'status', 'started', 'started_at', ARGV[4], 'worker_name', ARGV[3])
redis.call('ZADD', started, seconds() + tonumber(ARGV[5]), ARGV[2] .. ':' .. ARGV[1])
return 1
"""
)

# ARGV: token, worker's key, deliveries loaded, now as text, ids. What failed before and has been done now is a failed job no
# longer. Whoever has got all the jobs meanwhile counts what they carry.
FINISH_TOGETHER = (
    PLACES
    + """
local mine, keys = given_up(ARGV[1], {unpack(ARGV, 5)}), {}
if #mine == 0 then return 0 end
if ARGV[3] ~= '0' then
    redis.call('HINCRBY', counters, 'loaded', ARGV[3])
    redis.call('HSET', counters, 'last_loaded_at', ARGV[4])
end
for _, id in ipairs(mine) do
    keys[#keys + 1], keys[#keys + 2] = 'rq:job:' .. id, 'rq:results:' .. id
end
redis.call('DEL', unpack(keys))
redis.call('ZREM', failed, unpack(mine))
redis.call('HINCRBY', ARGV[2], 'successful_job_count', #mine)
return #mine
"""
)

# ARGV: token, worker's key, id, now as text, seconds for which it is shown as finished.
FINISH_ALONE = (
    PLACES
    + NOW
    + """
local id, key = ARGV[3], 'rq:job:' .. ARGV[3]
redis.call('ZREM', started, id .. ':' .. ARGV[1])
if #given_up(ARGV[1], {id}) == 0 then return 0 end
redis.call('HINCRBY', ARGV[2], 'successful_job_count', 1)
redis.call('ZREM', failed, id)
redis.call('ZREM', failed_at, id)
if redis.pcall('HEXISTS', key, 'data') == 1 then
    redis.call('HSET', key, 'status', 'finished', 'ended_at', ARGV[4])
    redis.call('EXPIRE', key, ARGV[5])
    redis.call('EXPIRE', 'rq:results:' .. id, ARGV[5])
    redis.call('ZADD', finished, seconds() + tonumber(ARGV[5]), id)
end
return 1
"""
)

# ARGV: token, LPUSH or RPUSH, ids in the order of pushing.
PUT_BACK = (
    PLACES
    + TO_QUEUE
    + """
local ids = {unpack(ARGV, 3)}
for _, id in ipairs(ids) do redis.call('ZREM', started, id .. ':' .. ARGV[1]) end
local mine = given_up(ARGV[1], ids)
for _, id in ipairs(mine) do
    redis.call('ZREM', failed, id)
    redis.call('ZREM', failed_at, id)
    to_queue(id, waiting, ARGV[2])
end
return #mine
"""
)

# ARGV: token, worker's key, id, now as text, meta, when it failed in seconds, fields and values of RQ's record of the result.
FAIL = (
    PLACES
    + TO_FAILED
    + """
local id, key = ARGV[3], 'rq:job:' .. ARGV[3]
redis.call('ZREM', started, id .. ':' .. ARGV[1])
if #given_up(ARGV[1], {id}) == 0 then return 0 end
if redis.pcall('HEXISTS', key, 'data') ~= 1 then return 0 end
to_failed(id, ARGV[4], ARGV[5], ARGV[6])
redis.call('XADD', 'rq:results:' .. id, 'MAXLEN', 10, '*', unpack(ARGV, 7))
redis.call('PERSIST', 'rq:results:' .. id)
redis.call('HINCRBY', ARGV[2], 'failed_job_count', 1)
return 1
"""
)

# ARGV: token, id, then commands, each as the number of its words and the words.
REPLACE = (
    PLACES
    + """
if #given_up(ARGV[1], {ARGV[2]}) == 0 then return 0 end
redis.call('DEL', 'rq:job:' .. ARGV[2], 'rq:results:' .. ARGV[2])
local place = 3
while place <= #ARGV do
    local words = tonumber(ARGV[place])
    redis.call(unpack(ARGV, place + 1, place + words))
    place = place + words + 1
end
return 1
"""
)
