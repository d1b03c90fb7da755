"""Moves jobs back into their queue, each atomically: from the failed ones, from those due, from a worker that died.

The move is a script that Redis runs as one step, so a process killed at any point leaves a job in exactly one place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from common.job_queue import queue_key, timestamp
from common.redis_client import RedisClient, translated

# KEYS: the sorted set the jobs come from, the queue's list, the set of queues. ARGV: now, "front" or "back", job ids.
# What RQ notes of a job's last run goes, and its expiry too; a job whose hash is gone only leaves the set.
_MOVE = """
local moved, gone = 0, 0
for i = 3, #ARGV do
    local id = ARGV[i]
    if redis.call('ZREM', KEYS[1], id) == 1 then
        local key = 'rq:job:' .. id
        if redis.call('HEXISTS', key, 'data') == 1 then
            redis.call('HSET', key, 'status', 'queued', 'enqueued_at', ARGV[1], 'started_at', '', 'ended_at', '', 'worker_name', '')
            redis.call('PERSIST', key)
            redis.call('DEL', KEYS[2] .. ':intermediate:first_seen:' .. id)
            redis.call(ARGV[2] == 'front' and 'LPUSH' or 'RPUSH', KEYS[2], id)
            moved = moved + 1
        else
            redis.call('DEL', key)
            gone = gone + 1
        end
    end
end
if moved > 0 then redis.call('SADD', KEYS[3], KEYS[2]) end
return {moved, gone}
"""


class Moved(NamedTuple):
    """How many jobs were moved, and how many ids had no job any more."""

    moved: int
    gone: int


def move_to_queue(
    connection: RedisClient, source_key: str, queue: str, job_ids: Sequence[str], *, front: bool = False
) -> Moved:
    """Move those of the jobs that are in the sorted set `source_key` to the queue; others are left alone.

    Raises QueueUnavailable.
    """
    with translated():
        script = connection.register_script(_MOVE)
        moved, gone = script(
            keys=[source_key, queue_key(queue), "rq:queues"],
            args=[timestamp(), "front" if front else "back", *job_ids],
        )
    return Moved(moved, gone)
