"""Moves jobs back into their queue, or deletes them, each atomically, from a sorted set that holds them for now.

Both are scripts that Redis runs as one step, so a process killed at any point leaves a job in exactly one place, and a
job that somebody else has just moved is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from common.queue_format import QUEUES_KEY, queue_key, timestamp
from common.redis_client import RedisClient, translated

# For every script that goes by the clock: Redis's own, because those of two hosts differ.
NOW = """
local function seconds()
    local time = redis.call('TIME')
    return tonumber(time[1]) + tonumber(time[2]) / 1000000
end
"""

# For every script that puts a job into its queue: what RQ notes of its last run goes, and its expiry too. Without a time
# in `now` the job keeps its age. Returns false for a job without data, of which there is nothing to run.
TO_QUEUE = """
local function to_queue(id, queue, push, now)
    local key = 'rq:job:' .. id
    if redis.pcall('HEXISTS', key, 'data') ~= 1 then return false end
    redis.call('HSET', key, 'status', 'queued', 'started_at', '', 'ended_at', '', 'worker_name', '')
    if now then redis.call('HSET', key, 'enqueued_at', now) end
    redis.call('PERSIST', key)
    redis.call('DEL', queue .. ':intermediate:first_seen:' .. id)
    redis.call(push, queue, id)
    return true
end
"""

# KEYS: the job, its queue's list, the set of queues, the mark that says when it was first seen taken, the finished jobs.
# ARGV: id, fields and values of the job. A job that is there already stays in the one place where it is, so that whoever was
# not told that it is there may queue it again. One that is finished only waits to be forgotten.
QUEUE_ONCE = """
local key, queue, queues, first_seen, finished = unpack(KEYS)
if redis.call('HEXISTS', key, 'data') == 1 and redis.call('HGET', key, 'status') ~= 'finished' then return 0 end
redis.call('RPUSH', queue, ARGV[1])
redis.call('DEL', key, first_seen)
redis.call('ZREM', finished, ARGV[1])
redis.call('HSET', key, unpack(ARGV, 2))
redis.call('SADD', queues, queue)
return 1
"""

# KEYS: the job, its queue's scheduled jobs, the set of queues, the finished jobs. ARGV: id, in how many seconds it is due, its
# queue's list, fields and values of the job. As above: a job that is there already stays where it is.
SCHEDULE_ONCE = (
    NOW
    + """
local key, scheduled, queues, finished = unpack(KEYS)
if redis.call('HEXISTS', key, 'data') == 1 and redis.call('HGET', key, 'status') ~= 'finished' then return 0 end
redis.call('DEL', key)
redis.call('ZREM', finished, ARGV[1])
redis.call('HSET', key, unpack(ARGV, 4))
redis.call('ZADD', scheduled, seconds() + tonumber(ARGV[2]), ARGV[1])
redis.call('SADD', queues, ARGV[3])
return 1
"""
)

# KEYS: the sorted set the jobs come from, its index or the set itself, the queue's list, the set of queues. A job whose
# data is gone only leaves the sets.
_MOVE_EACH = """
local function move_each(ids, push, now)
    local moved, gone = 0, 0
    for _, id in ipairs(ids) do
        local was_there = redis.call('ZREM', KEYS[1], id) == 1
        redis.call('ZREM', KEYS[2], id)
        if was_there then
            if to_queue(id, KEYS[3], push, now) then
                moved = moved + 1
            else
                redis.call('DEL', 'rq:job:' .. id, 'rq:results:' .. id)
                gone = gone + 1
            end
        end
    end
    if moved > 0 then redis.call('SADD', KEYS[4], KEYS[3]) end
    return {moved, gone}
end
"""

# ARGV: now as text, LPUSH or RPUSH, job ids.
_MOVE = TO_QUEUE + _MOVE_EACH + "return move_each({unpack(ARGV, 3)}, ARGV[2], ARGV[1])"

# ARGV: now as text, how many at most.
_MOVE_DUE = (
    NOW
    + TO_QUEUE
    + _MOVE_EACH
    + """
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', seconds(), 'LIMIT', 0, ARGV[2])
return move_each(due, 'RPUSH', ARGV[1])
"""
)

# KEYS: the sorted set that holds the jobs, its index. ARGV: job ids. Returns how many had their data still.
_DELETE = """
local deleted = 0
for i = 1, #ARGV do
    local id = ARGV[i]
    local was_there = redis.call('ZREM', KEYS[1], id) == 1
    redis.call('ZREM', KEYS[2], id)
    if was_there then
        if redis.pcall('HEXISTS', 'rq:job:' .. id, 'data') == 1 then deleted = deleted + 1 end
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
        moved, gone = connection.register_script(_MOVE)(
            keys=[source_key, index_key or source_key, queue_key(queue), QUEUES_KEY],
            args=[timestamp(), "LPUSH" if front else "RPUSH", *job_ids],
        )
    return Moved(moved, gone)


def move_due_to_queue(connection: RedisClient, source_key: str, queue: str, most: int) -> Moved:
    """Move the jobs of the sorted set `source_key` whose score, a time, has come by Redis's clock, at most so many.

    Raises QueueUnavailable.
    """
    with translated():
        moved, gone = connection.register_script(_MOVE_DUE)(
            keys=[source_key, source_key, queue_key(queue), QUEUES_KEY], args=[timestamp(), most]
        )
    return Moved(moved, gone)


def delete_jobs(connection: RedisClient, source_key: str, index_key: str, job_ids: Sequence[str]) -> int:
    """Delete those of the jobs that are in the sorted set `source_key`, and return how many; others are left alone.

    Raises QueueUnavailable.
    """
    with translated():
        return int(connection.register_script(_DELETE)(keys=[source_key, index_key], args=job_ids))
