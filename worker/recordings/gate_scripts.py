"""The steps of worker/recordings/fetch_gate.py, each a script that Redis runs as one."""

from __future__ import annotations

from common.requeue import NOW

# KEYS: the host's wait, its places. ARGV: who asks, how many places there are, seconds of a lease. Returns the milliseconds
# for which the host is to be left alone, 0 when all places are taken, -1 with a place. Leases that are longer than leases
# are were made before the clock was set back.
ENTER = (
    NOW
    + """
local wait, now, lease = redis.call('PTTL', KEYS[1]), seconds(), tonumber(ARGV[3])
if wait > 0 then return wait end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '(' .. string.format('%.3f', now + lease + 1), '+inf')
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[2], now + lease, ARGV[1])
redis.call('PEXPIRE', KEYS[2], math.ceil(lease * 2000))
return -1
"""
)

# KEYS: a host's places, for each of the members. ARGV: seconds of a lease, members.
RENEW_PLACES = (
    NOW
    + """
local now, lease = seconds(), tonumber(ARGV[1])
for place, key in ipairs(KEYS) do
    redis.call('ZADD', key, now + lease, ARGV[place + 1])
    redis.call('PEXPIRE', key, math.ceil(lease * 2000))
end
return #KEYS
"""
)

# KEYS: the host's wait. ARGV: milliseconds. A longer wait that is there already stays.
LEAVE_ALONE = """
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], 1, 'PX', ARGV[1]) end
return 1
"""

# KEYS: addresses. ARGV: who fetches them, milliseconds of a lease. Returns for each 1 when it is ours, as it may be already
# when the answer was lost on its way.
LOCK = """
local mine = {}
for place, key in ipairs(KEYS) do
    local taken = redis.call('SET', key, ARGV[1], 'NX', 'PX', ARGV[2]) or redis.call('GET', key) == ARGV[1]
    mine[place] = taken and 1 or 0
end
return mine
"""

# KEYS: addresses. ARGV: who fetches them, milliseconds of a lease. A lock that ran out and that nobody took is taken again.
RENEW_LOCKS = """
for _, key in ipairs(KEYS) do
    local owner = redis.call('GET', key)
    if not owner or owner == ARGV[1] then redis.call('SET', key, ARGV[1], 'PX', ARGV[2]) end
end
return #KEYS
"""

# KEYS: addresses. ARGV: who fetched them.
UNLOCK = """
for _, key in ipairs(KEYS) do
    if redis.call('GET', key) == ARGV[1] then redis.call('DEL', key) end
end
return #KEYS
"""
