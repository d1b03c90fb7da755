"""Sets aside jobs that cannot even be read, so that they neither end the worker that takes them nor stop the queue."""

from __future__ import annotations

import time
from uuid import uuid4

import msgspec
import structlog

from common.failed_index import index_key
from common.queue_format import COUNTERS_KEY, JOB_ID, failed_key, timestamp
from common.redis_client import RedisClient

BROKEN_JOB = "broken_job"
_LONGEST_ERROR = 500

_log = structlog.get_logger("common.broken_jobs")

# KEYS: the intermediate list, the failed jobs, their index, the counters. ARGV: the id as found, the id to keep it by, its
# queue, the meta, now as text, now in seconds. What nobody could read is written anew, so that every tool can show the job,
# and a replay can run it if its data is whole. What has no data has nothing to keep; a job that somebody has moved
# meanwhile is left alone.
_SET_ASIDE = """
local key, kept = 'rq:job:' .. ARGV[1], 'rq:job:' .. ARGV[2]
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
local data = redis.pcall('HGET', key, 'data')
if type(data) ~= 'string' then return 0 end
redis.call('DEL', key)
redis.call('HSET', kept, 'data', data, 'created_at', ARGV[5], 'ended_at', ARGV[5], 'origin', ARGV[3], 'status', 'failed',
    'description', 'could not be read', 'timeout', -1, 'result_ttl', 60, 'failure_ttl', -1, 'meta', ARGV[4])
redis.call('ZADD', KEYS[2], -1, ARGV[2])
redis.call('ZADD', KEYS[3], ARGV[6], ARGV[2])
redis.call('HINCRBY', KEYS[4], 'refused', 1)
return 1
"""


def set_aside(connection: RedisClient, queue_key: str, job_id: bytes, error: str) -> bool:
    """Make a failed job of one that was taken and cannot be read; tell whether it had any data to keep.

    An id that RQ cannot read is replaced. Raises redis-py's own errors.
    """
    queue = queue_key.removeprefix("rq:queue:")
    kept = job_id.decode() if JOB_ID.fullmatch(job_id) else uuid4().hex
    error = f"job {job_id!r} could not be read: {error}"[:_LONGEST_ERROR]
    # What worker/queue_worker.py notes of a failure, which common/failed_jobs.py reads.
    meta = {"reason": BROKEN_JOB, "sqlstate": None, "error": error, "failed_at": time.time(), "attempts": 1}
    had_data = connection.register_script(_SET_ASIDE)(
        keys=[f"{queue_key}:intermediate", failed_key(queue), index_key(queue), COUNTERS_KEY],
        args=[job_id, kept, queue, msgspec.json.encode(meta), timestamp(), meta["failed_at"]],
    )
    _log.warning("broken job", job_id=kept, queue=queue, error=error, kept=bool(had_data))
    return bool(had_data)
