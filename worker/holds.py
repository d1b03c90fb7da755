"""Who holds a job: one execution at a time, which every further step of the job names.

A job is always in exactly one place, and each move from one to the next is one script, so that a process may die, or
stall and wake up again, between any two of them. docs/architecture.md draws the places. A hold is a lease in a sorted set
and the token of the execution that has it in a hash. When the lease runs out the sweep (worker/sweep.py) gives the job
away, and the old token opens nothing any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import structlog

from common.failed_index import index_key
from common.job_queue import RESULT_TTL_SECONDS, NewJob
from common.queue_format import (
    COUNTERS_KEY,
    failed_key,
    finished_key,
    intermediate_key,
    queue_key,
    started_key,
    timestamp,
)
from common.redis_client import RedisClient, translated
from common.requeue import NOW, TO_QUEUE

LEASE_SECONDS = 12.0
MAX_CDRS = 1000
MAX_JOBS = 200
# The registry of what runs is for people: who is alive is told by the leases, and a stock command must not call our jobs
# abandoned.
STARTED_SECONDS = 86_400
# By this a sweep tells our executions from those of stock workers, which hold no lease.
EXECUTION_PREFIX = "cdr-"

_log = structlog.get_logger("worker.holds")


def lease_key(queue: str) -> str:
    """Return the key of the sorted set that holds the leases of a queue's jobs, by when they run out."""
    return f"cdr:leases:{queue}"


def holders_key(queue: str) -> str:
    """Return the key of the hash that names the execution that holds each job of a queue."""
    return f"cdr:holders:{queue}"


def place_keys(queue: str) -> list[str]:
    """Return the keys of the places in which a job of a queue may be, in the order of `PLACES`."""
    places = (lease_key, holders_key, queue_key, intermediate_key, started_key, failed_key, index_key, finished_key)
    return [*(name(queue) for name in places), COUNTERS_KEY]


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

# ARGV: token, seconds of a lease, the job that RQ took, room for CDRs, most jobs. From the head of the queue it takes along
# what says how many CDRs it carries, and what no worker has died of. A job that was put back meanwhile, or of which
# another holds a second copy, is none of ours.
_TAKE = (
    PLACES
    + NOW
    + """
if redis.call('LREM', taken, 1, ARGV[3]) == 0 then return {} end
local ids, known, room = {ARGV[3]}, {[ARGV[3]] = true}, tonumber(ARGV[4])
while room > 0 and #ids < tonumber(ARGV[5]) do
    local id = redis.call('LINDEX', waiting, 0)
    if not id or string.find(id, '[^%w_-]') then break end
    local fields = redis.pcall('HMGET', 'rq:job:' .. id, 'cdrs', 'deaths')
    local cdrs = fields[1] and string.match(fields[1], '^%d+$') and tonumber(fields[1])
    if not cdrs or fields[2] or cdrs > room then break end
    redis.call('LPOP', waiting)
    if not known[id] then ids[#ids + 1] = id end
    known[id] = true
    room = room - cdrs
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
_RENEW = (
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
_START = (
    PLACES
    + NOW
    + """
if #still_held(ARGV[1], {ARGV[2]}) == 0 then return 0 end
redis.call('HSET', 'rq:job:' .. ARGV[2], 'status', 'started', 'started_at', ARGV[4], 'worker_name', ARGV[3])
redis.call('ZADD', started, seconds() + tonumber(ARGV[5]), ARGV[2] .. ':' .. ARGV[1])
return 1
"""
)

# ARGV: token, worker's key, ids. What failed before and has been done now is a failed job no longer.
_FINISH_TOGETHER = (
    PLACES
    + """
local mine, keys = given_up(ARGV[1], {unpack(ARGV, 3)}), {}
if #mine == 0 then return 0 end
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
_FINISH_ALONE = (
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
_PUT_BACK = (
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
_FAIL = (
    PLACES
    + """
local id, key = ARGV[3], 'rq:job:' .. ARGV[3]
redis.call('ZREM', started, id .. ':' .. ARGV[1])
if #given_up(ARGV[1], {id}) == 0 then return 0 end
if redis.pcall('HEXISTS', key, 'data') ~= 1 then return 0 end
redis.call('HSET', key, 'status', 'failed', 'ended_at', ARGV[4], 'meta', ARGV[5])
redis.call('PERSIST', key)
redis.call('XADD', 'rq:results:' .. id, 'MAXLEN', 10, '*', unpack(ARGV, 7))
redis.call('PERSIST', 'rq:results:' .. id)
redis.call('ZADD', failed, -1, id)
redis.call('ZADD', failed_at, ARGV[6], id)
redis.call('HINCRBY', counters, 'refused', 1)
redis.call('HINCRBY', ARGV[2], 'failed_job_count', 1)
return 1
"""
)

# ARGV: token, id, then commands, each as the number of its words and the words.
_REPLACE = (
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


class Hold:
    """The jobs that one execution holds, until each is finished, failed, put back or replaced.

    Every step returns how many jobs it concerned: fewer than given when others have got them meanwhile, because this
    execution stalled for longer than a lease. All raise QueueUnavailable.
    """

    def __init__(self, connection: RedisClient, queue: str) -> None:
        self.token = EXECUTION_PREFIX + uuid4().hex
        self.job_ids: list[str] = []
        self._connection = connection
        self._queue = queue

    def take(self, job_id: str, room: int) -> list[str]:
        """Take hold of the job that RQ has just taken, and of load jobs behind it with up to `room` CDRs."""
        found = self._run(_TAKE, LEASE_SECONDS, job_id, room, MAX_JOBS)
        self.job_ids = [each.decode() for each in found]
        return list(self.job_ids)

    def renew(self) -> int:
        """Renew the leases of all jobs that are held still."""
        return int(self._run(_RENEW, LEASE_SECONDS, *self.job_ids)) if self.job_ids else 0

    def start(self, job_id: str, worker_name: str) -> bool:
        """Show a job as being run; False when it may not be run, because it is held no longer."""
        return bool(self._run(_START, job_id, worker_name, timestamp(), STARTED_SECONDS))

    def finish_together(self, job_ids: Sequence[str], worker_key: str) -> int:
        """Forget jobs that are done."""
        return self._settle(job_ids, _FINISH_TOGETHER, worker_key, *job_ids)

    def finish(self, job_id: str, worker_key: str) -> int:
        """Note that a job which was started is done."""
        return self._settle([job_id], _FINISH_ALONE, worker_key, job_id, timestamp(), RESULT_TTL_SECONDS)

    def put_back(self, job_ids: Sequence[str], *, last: bool = False) -> int:
        """Return jobs to the head of their queue in their order, or to its end, as if they had never been taken."""
        pushed = job_ids if last else list(reversed(job_ids))
        return self._settle(job_ids, _PUT_BACK, "RPUSH" if last else "LPUSH", *pushed)

    def fail(self, job_id: str, worker_key: str, meta: bytes, failed_at: float, result: dict[str, Any]) -> int:
        """Make a failed job of one; `result` is RQ's record of what came of it."""
        words = [word for field in result.items() for word in field]
        return self._settle([job_id], _FAIL, worker_key, job_id, timestamp(), meta, failed_at, *words)

    def replace(self, job_id: str, jobs: Sequence[NewJob]) -> int:
        """Queue other jobs in the place of one."""
        commands = [command for job in jobs for command in job.commands()]
        words = [word for command in commands for word in (len(command), *command)]
        return self._settle([job_id], _REPLACE, job_id, *words)

    def _settle(self, job_ids: Sequence[str], script: str, *arguments: Any) -> int:
        """Run a script that ends the hold on some jobs; without jobs do nothing."""
        done = int(self._run(script, *arguments)) if job_ids else 0
        settled = set(job_ids)
        self.job_ids = [each for each in self.job_ids if each not in settled]
        if done < len(settled):
            _log.warning("not held any more", job_ids=job_ids, still_held=done)
        return done

    def _run(self, script: str, *arguments: Any) -> Any:
        with translated():
            return self._connection.register_script(script)(keys=place_keys(self._queue), args=[self.token, *arguments])
