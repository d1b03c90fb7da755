"""Finds jobs whose worker died and puts them back into their queue, in whatever state they were left.

Three places are looked at: leases that ran out, RQ's intermediate list (taken, and nobody holds it), and executions that
have no lease. All that it remembers is in Redis, so that a scheduler may die, or there may be two. What is in no place at
all is for worker/orphans.py.
"""

from __future__ import annotations

import structlog

from common.job_queue import QUEUES
from common.queue_format import timestamp
from common.redis_client import RedisClient, translated
from common.requeue import NOW, TO_QUEUE
from worker.hold_scripts import PLACES
from worker.holds import EXECUTION_PREFIX, LEASE_SECONDS, place_keys

RECOVERED_AT_ONCE = 200
# How long RQ's own registries may lie past their time before somebody else's dead execution is taken for one.
STOCK_GRACE_SECONDS = 60

_log = structlog.get_logger("worker.sweep")

# A job whose worker died is counted, because it may be what killed it: the second time it goes behind the others, and
# worker/split_jobs.py splits it later on.
_DIED = (
    PLACES
    + NOW
    + TO_QUEUE
    + """
local function died(id, now)
    local deaths = redis.pcall('HINCRBY', 'rq:job:' .. id, 'deaths', 1)
    if type(deaths) ~= 'number' then deaths = 2 end
    redis.call('ZREM', failed, id)
    redis.call('ZREM', failed_at, id)
    if to_queue(id, waiting, deaths > 1 and 'RPUSH' or 'LPUSH', now) then return 1 end
    -- Counting made a hash of a job that was gone.
    if redis.call('TYPE', 'rq:job:' .. id).ok == 'hash' then redis.call('DEL', 'rq:job:' .. id) end
    return 0
end
local function first_seen(seen, found)
    local present = {}
    for _, name in ipairs(found) do
        -- LT: a clock that was set back may have left a mark that lies ahead, which would be waited for as well.
        redis.call('ZADD', seen, 'LT', seconds(), name)
        present[name] = true
    end
    for _, name in ipairs(redis.call('ZRANGE', seen, 0, -1)) do
        if not present[name] then redis.call('ZREM', seen, name) end
    end
end
"""
)

# ARGV: now as text, most jobs, seconds of a lease. A lease that nobody's token belongs to is left from before there were
# tokens: its job may have ended. One that ends later than a lease given now is from before the clock was set back, and
# would be waited for as long as it was set back.
_SWEEP_LEASES = (
    _DIED
    + """
local recovered, latest = 0, seconds() + ARGV[3]
for _, id in ipairs(redis.call('ZRANGEBYSCORE', leases, latest, '+inf')) do redis.call('ZADD', leases, latest, id) end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', seconds(), 'LIMIT', 0, ARGV[2])) do
    local token = redis.call('HGET', holders, id)
    redis.call('ZREM', leases, id)
    redis.call('HDEL', holders, id)
    if token then redis.call('ZREM', started, id .. ':' .. token) end
    local was_taken = redis.call('LREM', taken, 0, id) > 0
    local status = redis.pcall('HGET', 'rq:job:' .. id, 'status')
    if token or was_taken or status == 'started' then recovered = recovered + died(id, ARGV[1]) end
end
return recovered
"""
)

# KEYS, after the places: when each was seen first. ARGV: now as text, most jobs, seconds that they may be there. A worker
# that dies while it reads a job may die of it, so that counts as well.
_SWEEP_TAKEN = (
    _DIED
    + """
local seen, recovered = KEYS[10], 0
first_seen(seen, redis.call('LRANGE', taken, 0, ARGV[2] - 1))
for _, id in ipairs(redis.call('ZRANGEBYSCORE', seen, '-inf', seconds() - ARGV[3])) do
    redis.call('ZREM', seen, id)
    if not redis.call('ZSCORE', leases, id) and redis.call('LREM', taken, 0, id) > 0 then
        recovered = recovered + died(id, ARGV[1])
    end
end
return recovered
"""
)

# KEYS, after the places: when each was seen first. ARGV: now as text, most executions, seconds that they may be there, what
# our executions begin with, the grace of those of stock workers. These are dead when their worker is, or by RQ's own rule.
_SWEEP_STARTED = (
    _DIED
    + """
local seen, recovered = KEYS[10], 0
local function abandoned(id, execution)
    if string.sub(execution, 1, #ARGV[4]) == ARGV[4] then return true end
    if tonumber(redis.call('ZSCORE', started, id .. ':' .. execution)) < seconds() - ARGV[5] then return true end
    local worker = redis.pcall('HGET', 'rq:job:' .. id, 'worker_name')
    return type(worker) == 'string' and redis.call('EXISTS', 'rq:worker:' .. worker) == 0
end
local function parts(name) return string.match(name, '^(.*):([^:]*)$') end
local unleased = {}
for _, name in ipairs(redis.call('ZRANGE', started, 0, ARGV[2] - 1)) do
    local id, execution = parts(name)
    if id and not redis.call('ZSCORE', leases, id) and abandoned(id, execution) then unleased[#unleased + 1] = name end
end
first_seen(seen, unleased)
for _, name in ipairs(redis.call('ZRANGEBYSCORE', seen, '-inf', seconds() - ARGV[3])) do
    local id = parts(name)
    redis.call('ZREM', seen, name)
    redis.call('ZREM', started, name)
    if redis.pcall('HGET', 'rq:job:' .. id, 'status') == 'started' then recovered = recovered + died(id, ARGV[1]) end
end
return recovered
"""
)

# KEYS: the finished jobs, all workers, the queue's workers. RQ's own clean-up does this, which our workers leave out.
_TIDY = (
    NOW
    + """
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, seconds())
for _, set in ipairs({KEYS[2], KEYS[3]}) do
    for _, worker in ipairs(redis.call('SMEMBERS', set)) do
        local left = redis.call('TTL', worker)
        if left == -2 then redis.call('SREM', set, worker) end
        if left == -1 then redis.call('EXPIRE', worker, 60) end
    end
end
"""
)


def seen_key(queue: str, what: str) -> str:
    """Return the key of the sorted set that says since when the sweep has been seeing what may be left over."""
    return f"cdr:seen:{what}:{queue}"


def sweep(connection: RedisClient) -> int:
    """Put back every job whose worker is gone and return how many; raises QueueUnavailable."""
    recovered = sum(_sweep_queue(connection, queue) for queue in QUEUES)
    if recovered:
        _log.warning("jobs of dead workers put back", count=recovered)
    return recovered


def _sweep_queue(connection: RedisClient, queue: str) -> int:
    bounds = [timestamp(), RECOVERED_AT_ONCE]
    places = place_keys(queue)
    taken, started = seen_key(queue, "taken"), seen_key(queue, "started")
    stock = [LEASE_SECONDS, EXECUTION_PREFIX, STOCK_GRACE_SECONDS]

    def run(script: str, keys: list[str], *arguments: object) -> int:
        return int(connection.register_script(script)(keys=keys, args=arguments) or 0)

    with translated():
        run(_TIDY, [f"rq:finished:{queue}", "rq:workers", f"rq:workers:{queue}"])
        return (
            run(_SWEEP_LEASES, places, *bounds, LEASE_SECONDS)
            + run(_SWEEP_TAKEN, [*places, taken], *bounds, LEASE_SECONDS)
            + run(_SWEEP_STARTED, [*places, started], *bounds, *stock)
        )
