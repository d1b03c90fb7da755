"""Finds jobs whose worker died and puts them back into their queue, in whatever state they were left.

Three places are looked at: leases that ran out, RQ's intermediate list (taken, but not started), and jobs in it that no
worker holds a lease for. Jobs of stock workers hold no lease and follow RQ's own rule.
"""

from __future__ import annotations

import time

import structlog

from common.job_queue import QUEUES, intermediate_key, queue_key, timestamp
from common.redis_client import RedisClient, translated
from worker.leases import LEASE_SECONDS, lease_key

_log = structlog.get_logger("worker.sweep")

# KEYS: leases, started registry, intermediate list, queue list. ARGV: the job's id, now in seconds, now as text.
# The lease is checked again inside the script: a worker may have renewed it since. What is neither started nor queued
# any more has ended, and only its lease goes. A job whose worker died is counted, because it may be what killed it: the
# second time it goes behind the others, and worker/split_jobs.py splits it later on.
_RECOVER_LEASED = """
local id, key = ARGV[1], 'rq:job:' .. ARGV[1]
local score = redis.call('ZSCORE', KEYS[1], id)
if not score or tonumber(score) > tonumber(ARGV[2]) then return 0 end
redis.call('ZREM', KEYS[1], id)
for _, execution in ipairs(redis.call('ZRANGE', 'rq:executions:' .. id, 0, -1)) do
    redis.call('ZREM', KEYS[2], id .. ':' .. execution)
    redis.call('DEL', 'rq:execution:' .. id .. ':' .. execution)
end
redis.call('DEL', 'rq:executions:' .. id)
local taken = redis.call('LREM', KEYS[3], 0, id)
if redis.call('HEXISTS', key, 'data') == 0 then return 0 end
local status = redis.call('HGET', key, 'status')
if status ~= 'started' and taken == 0 then return 0 end
redis.call('HSET', key, 'status', 'queued', 'enqueued_at', ARGV[3], 'started_at', '', 'worker_name', '')
redis.call('PERSIST', key)
redis.call('DEL', KEYS[3] .. ':first_seen:' .. id)
local deaths = redis.call('HINCRBY', key, 'deaths', 1)
redis.call(deaths > 1 and 'RPUSH' or 'LPUSH', KEYS[4], id)
return 1
"""

# KEYS: leases, intermediate list, queue list. ARGV: the job's id, now as text. A job with a lease is being started.
_RECOVER_TAKEN = """
local id, key = ARGV[1], 'rq:job:' .. ARGV[1]
if redis.call('ZSCORE', KEYS[1], id) then return 0 end
if redis.call('LREM', KEYS[2], 0, id) == 0 then return 0 end
if redis.call('HEXISTS', key, 'data') == 0 then return 0 end
redis.call('HSET', key, 'status', 'queued', 'enqueued_at', ARGV[2])
redis.call('DEL', KEYS[2] .. ':first_seen:' .. id)
redis.call('LPUSH', KEYS[3], id)
return 1
"""


class Sweeper:
    """Remembers which taken jobs it saw, and since when: they are moved only after a lease's time."""

    def __init__(self, connection: RedisClient) -> None:
        self._connection = connection
        self._recover_leased = connection.register_script(_RECOVER_LEASED)
        self._recover_taken = connection.register_script(_RECOVER_TAKEN)
        self._taken_since: dict[tuple[str, str], float] = {}

    def sweep(self) -> int:
        """Put back every job whose worker is gone and return how many; raises QueueUnavailable."""
        recovered = 0
        with translated():
            for queue in QUEUES:
                recovered += self._sweep_leases(queue) + self._sweep_taken(queue)
        if recovered:
            _log.warning("jobs of dead workers put back", count=recovered)
        return recovered

    def _sweep_leases(self, queue: str) -> int:
        now = time.time()
        ran_out: list[bytes] = self._connection.zrangebyscore(lease_key(queue), 0, now)
        keys = [lease_key(queue), f"rq:wip:{queue}", intermediate_key(queue), queue_key(queue)]
        return sum(int(self._recover_leased(keys=keys, args=[job_id, now, timestamp()])) for job_id in ran_out)

    def _sweep_taken(self, queue: str) -> int:
        now = time.monotonic()
        taken: list[bytes] = self._connection.lrange(intermediate_key(queue), 0, -1)
        seen = {(queue, job_id.decode()) for job_id in taken}
        for key in [key for key in self._taken_since if key[0] == queue and key not in seen]:
            del self._taken_since[key]
        recovered = 0
        for key in seen:
            if now - self._taken_since.setdefault(key, now) > LEASE_SECONDS:
                recovered += self._put_back(queue, key[1])
        return recovered

    def _put_back(self, queue: str, job_id: str) -> int:
        keys = [lease_key(queue), intermediate_key(queue), queue_key(queue)]
        return int(self._recover_taken(keys=keys, args=[job_id, timestamp()]))
