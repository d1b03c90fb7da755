"""Moves jobs back into their queue, or deletes them, each atomically, from a sorted set that holds them for now.

Both are scripts that Redis runs as one step, so a process killed at any point leaves a job in exactly one place, and a
job that somebody else has just moved is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from common.job_queue import queue_key, timestamp
from common.redis_client import RedisClient, translated

# KEYS: the sorted set the jobs come from, its index or the set itself, the queue's list, the set of queues. ARGV: now,
# "front" or "back", job ids. What RQ notes of a job's last run goes, and its expiry too; a job whose hash is gone only
# leaves the sets.
_MOVE = """
local moved, gone = 0, 0
for i = 3, #ARGV do
    local id = ARGV[i]
    if redis.call('ZREM', KEYS[1], id) == 1 then
        redis.call('ZREM', KEYS[2], id)
        local key = 'rq:job:' .. id
        if redis.call('HEXISTS', key, 'data') == 1 then
            redis.call('HSET', key, 'status', 'queued', 'enqueued_at', ARGV[1], 'started_at', '', 'ended_at', '', 'worker_name', '')
            redis.call('PERSIST', key)
            redis.call('DEL', KEYS[3] .. ':intermediate:first_seen:' .. id)
            redis.call(ARGV[2] == 'front' and 'LPUSH' or 'RPUSH', KEYS[3], id)
            moved = moved + 1
        else
            redis.call('DEL', key, 'rq:results:' .. id)
            gone = gone + 1
        end
    end
end
if moved > 0 then redis.call('SADD', KEYS[4], KEYS[3]) end
return {moved, gone}
"""

# KEYS: the sorted set that holds the jobs, its index. ARGV: job ids. Returns how many had their data still.
_DELETE = """
local deleted = 0
for i = 1, #ARGV do
    local id = ARGV[i]
    if redis.call('ZREM', KEYS[1], id) == 1 then
        redis.call('ZREM', KEYS[2], id)
        deleted = deleted + redis.call('HEXISTS', 'rq:job:' .. id, 'data')
        redis.call('DEL', 'rq:job:' .. id, 'rq:results:' .. id)
    end
end
return deleted
"""


class Moved(NamedTuple):
    """How many jobs were moved, and how many ids had no job any more."""

    moved: int
    gone: int


def move_to_queue(
    connection: RedisClient,
    source_key: str,
    queue: str,
    job_ids: Sequence[str],
    *,
    index_key: str | None = None,
    front: bool = False,
) -> Moved:
    """Move those of the jobs that are in the sorted set `source_key` to the queue; others are left alone.

    They leave the sorted set `index_key` too, if there is one. Raises QueueUnavailable.
    """
    with translated():
        script = connection.register_script(_MOVE)
        moved, gone = script(
            keys=[source_key, index_key or source_key, queue_key(queue), "rq:queues"],
            args=[timestamp(), "front" if front else "back", *job_ids],
        )
    return Moved(moved, gone)


def delete_jobs(connection: RedisClient, source_key: str, index_key: str, job_ids: Sequence[str]) -> int:
    """Delete those of the jobs that are in the sorted set `source_key`, and return how many; others are left alone.

    Raises QueueUnavailable.
    """
    with translated():
        return int(connection.register_script(_DELETE)(keys=[source_key, index_key], args=job_ids))
