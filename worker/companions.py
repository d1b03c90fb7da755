"""Takes the load jobs that wait behind one, so that many small batches cost one transaction.

At a low rate the receiver writes a job for every CDR or two, and a transaction with its fsync for each would bound a worker at
a few hundred CDRs a second. The jobs stay RQ jobs of their own: one that cannot be loaded is run alone, as RQ would.
"""

from __future__ import annotations

from typing import Any

from common.job_queue import CdrJob, first_seen_key, intermediate_key, job_key, queue_key
from common.redis_client import RedisClient, translated

MAX_CDRS = 1000
MAX_JOBS = 200

# KEYS: the queue's list, RQ's intermediate list. ARGV: room for CDRs, how many jobs at most. Takes from the head while jobs
# say how many CDRs they carry and no worker has died of them, each in one step, as RQ takes the first.
_TAKE = """
local taken, room = {}, tonumber(ARGV[1])
while #taken < tonumber(ARGV[2]) do
    local id = redis.call('LINDEX', KEYS[1], 0)
    if not id then break end
    local fields = redis.call('HMGET', 'rq:job:' .. id, 'cdrs', 'deaths')
    local cdrs = fields[1] and tonumber(fields[1])
    if not cdrs or fields[2] or cdrs > room then break end
    redis.call('LMOVE', KEYS[1], KEYS[2], 'LEFT', 'RIGHT')
    room = room - cdrs
    taken[#taken + 1] = id
end
return taken
"""


def take_companions(connection: RedisClient, queue: str, job: CdrJob) -> list[CdrJob]:
    """Take the load jobs behind this one, up to 1,000 CDRs with it; raises QueueUnavailable.

    A worker that dies before it holds their leases has left them in the intermediate list, where the sweep finds them.
    """
    if not job.cdrs or job.deaths:
        return []
    with translated():
        take = connection.register_script(_TAKE)
        taken = take(keys=[queue_key(queue), intermediate_key(queue)], args=[MAX_CDRS - job.cdrs, MAX_JOBS])
        jobs: list[Any] = CdrJob.fetch_many([job_id.decode() for job_id in taken], connection) if taken else []
    return [each for each in jobs if each is not None]


def finish(connection: RedisClient, queue: str, worker_key: str, jobs: list[CdrJob]) -> None:
    """Forget jobs that are loaded, and count them for the worker; raises QueueUnavailable."""
    with translated(), connection.pipeline(transaction=True) as pipeline:
        for job in jobs:
            pipeline.lrem(intermediate_key(queue), 0, job.id)
            pipeline.delete(job_key(job.id), f"rq:results:{job.id}", first_seen_key(queue, job.id))
        pipeline.hincrby(worker_key, "successful_job_count", len(jobs))
        pipeline.execute()


def return_to_queue(connection: RedisClient, queue: str, jobs: list[Any]) -> None:
    """Put jobs that were taken but not started back at the head of their queue, in their order; raises QueueUnavailable."""
    with translated(), connection.pipeline(transaction=True) as pipeline:
        for job in reversed(jobs):
            pipeline.lrem(intermediate_key(queue), 0, job.id)
            pipeline.delete(first_seen_key(queue, job.id))
            pipeline.lpush(queue_key(queue), job.id)
        pipeline.execute()
