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
from worker.hold_scripts import PLACES, TO_FAILED
from worker.holds import EXECUTION_PREFIX, LEASE_SECONDS, place_keys

RECOVERED_AT_ONCE = 200
# So many workers died with a job until it is set aside. Whatever kills workers, a machine that is started anew too, would
# have to meet the same job each time; from the second time on it is held by itself.
MOST_DEATHS = 6
DEADLY = "%d workers died with it"
# How long RQ's own registries may lie past their time before somebody else's dead execution is taken for one.
STOCK_GRACE_SECONDS = 60

_log = structlog.get_logger("worker.sweep")

# A job whose worker died is counted, because it may be what killed it: the second time it goes behind the others, and
# worker/split_jobs.py splits it later on. What can be split no further, or kills whoever reads it, becomes a failed job. It
# keeps the time since which it waits. ARGV, of every script: now as text, most jobs, the most deaths, the error.
_DIED = (
    PLACES
    + NOW
    + TO_QUEUE
    + TO_FAILED
    + """
local recovered, deadly = 0, {}
local function set_aside(id, deaths)
    local meta = redis.pcall('HGET', 'rq:job:' .. id, 'meta')
    local attempts = type(meta) == 'string' and string.match(meta, '"attempts":(%d%d?%d?)[,}]') or 0
    local failure = {reason = 'kills_workers', sqlstate = cjson.null, error = string.format(ARGV[4], deaths)}
    failure.failed_at, failure.attempts = seconds(), attempts + 1
    to_failed(id, ARGV[1], cjson.encode(failure), failure.failed_at)
    deadly[#deadly + 1] = id
end
local function died(id)
    local key = 'rq:job:' .. id
    redis.call('ZREM', failed, id)
    redis.call('ZREM', failed_at, id)
    if redis.pcall('HEXISTS', key, 'data') ~= 1 then return end
    local deaths = redis.pcall('HINCRBY', key, 'deaths', 1)
    if type(deaths) ~= 'number' then
        -- Somebody wrote there what is no number.
        deaths = 2
        redis.call('HSET', key, 'deaths', deaths)
    end
    if deaths >= tonumber(ARGV[3]) then return set_aside(id, deaths) end
    to_queue(id, waiting, deaths > 1 and 'RPUSH' or 'LPUSH')
    redis.call('HINCRBY', counters, 'recovered', 1)
    recovered = recovered + 1
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

# ARGV, further: seconds of a lease. A lease that nobody's token belongs to is left from before there were tokens: its job may
# have ended. One that ends later than a lease given now is from before the clock was set back, and would be waited for as
# long as it was set back.
_SWEEP_LEASES = (
    _DIED
    + """
local latest = seconds() + ARGV[5]
for _, id in ipairs(redis.call('ZRANGEBYSCORE', leases, latest, '+inf')) do redis.call('ZADD', leases, latest, id) end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', seconds(), 'LIMIT', 0, ARGV[2])) do
    local token = redis.call('HGET', holders, id)
    redis.call('ZREM', leases, id)
    redis.call('HDEL', holders, id)
    if token then redis.call('ZREM', started, id .. ':' .. token) end
    local was_taken = redis.call('LREM', taken, 0, id) > 0
    local status = redis.pcall('HGET', 'rq:job:' .. id, 'status')
    if token or was_taken or status == 'started' then died(id) end
end
return {recovered, deadly}
"""
)

# KEYS, after the places: when each was seen first. ARGV, further: seconds that they may be there. A worker that dies while it
# reads a job may die of it, so that counts as well.
_SWEEP_TAKEN = (
    _DIED
    + """
local seen = KEYS[10]
first_seen(seen, redis.call('LRANGE', taken, 0, ARGV[2] - 1))
for _, id in ipairs(redis.call('ZRANGEBYSCORE', seen, '-inf', seconds() - ARGV[5])) do
    redis.call('ZREM', seen, id)
    if not redis.call('ZSCORE', leases, id) and redis.call('LREM', taken, 0, id) > 0 then died(id) end
end
return {recovered, deadly}
"""
)

# KEYS, after the places: when each was seen first. ARGV, further: seconds that they may be there, what our executions begin
# with, the grace of those of stock workers. These are dead when their worker is, or by RQ's own rule.
_SWEEP_STARTED = (
    _DIED
    + """
local seen = KEYS[10]
local function abandoned(id, execution)
    if string.sub(execution, 1, #ARGV[6]) == ARGV[6] then return true end
    if tonumber(redis.call('ZSCORE', started, id .. ':' .. execution)) < seconds() - ARGV[7] then return true end
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
for _, name in ipairs(redis.call('ZRANGEBYSCORE', seen, '-inf', seconds() - ARGV[5])) do
    local id = parts(name)
    redis.call('ZREM', seen, name)
    redis.call('ZREM', started, name)
    if redis.pcall('HGET', 'rq:job:' .. id, 'status') == 'started' then died(id) end
end
return {recovered, deadly}
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
    """Put back every job whose worker is gone and return how many; one that too many died with becomes a failed job.

    Raises QueueUnavailable.
    """
    found = [each for queue in QUEUES for each in _sweep_queue(connection, queue)]
    recovered = sum(count for count, _ in found)
    if recovered:
        _log.warning("jobs of dead workers put back", count=recovered)
    for job_id in (job_id for _, deadly in found for job_id in deadly):
        _log.error("job kills workers", job_id=job_id.decode("utf-8", "replace"))
    return recovered


def _sweep_queue(connection: RedisClient, queue: str) -> list[tuple[int, list[bytes]]]:
    """Return of each script how many jobs it put back, and the ids of those that it set aside."""
    bounds = [timestamp(), RECOVERED_AT_ONCE, MOST_DEATHS, DEADLY]
    places = place_keys(queue)
    taken, started = seen_key(queue, "taken"), seen_key(queue, "started")

    def run(script: str, keys: list[str], *arguments: object) -> tuple[int, list[bytes]]:
        recovered, deadly = connection.register_script(script)(keys=keys, args=[*bounds, *arguments])
        return recovered, deadly

    with translated():
        connection.register_script(_TIDY)(keys=[f"rq:finished:{queue}", "rq:workers", f"rq:workers:{queue}"])
        return [
            run(_SWEEP_LEASES, places, LEASE_SECONDS),
            run(_SWEEP_TAKEN, [*places, taken], LEASE_SECONDS),
            run(_SWEEP_STARTED, [*places, started], LEASE_SECONDS, EXECUTION_PREFIX, STOCK_GRACE_SECONDS),
        ]
