"""Finds job hashes that are in no queue, no registry and nobody's hold, and brings them back; clears what the dead left.

A step of somebody else's may leave a job nowhere: stock `rq requeue` takes it out of the failed jobs and queues it in two
steps. What is found nowhere twice, a lease's time apart, is looked for once more in the script that brings it back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import structlog

from common.job_queue import ALLOWED_FUNCTIONS, QUEUES, read_call
from common.queue_format import (
    COUNTERS_KEY,
    JOB_ID,
    failed_key,
    finished_key,
    intermediate_key,
    job_key,
    lease_key,
    queue_key,
    scheduled_key,
    started_key,
)
from common.redis_client import RedisClient, read_hash, translated
from common.requeue import TO_QUEUE
from worker.holds import LEASE_SECONDS

# One step reads so many keys or list entries, and so many jobs at most are brought back a walk: no command holds up Redis.
STEP = 1000
BROUGHT_BACK_A_WALK = 50
# Between two walks; after a long one four times as long as it took, so that a long queue costs no more.
PAUSE_SECONDS = 5.0
PAUSE_FACTOR = 4.0
ORPHANS_FIELD = "orphans"

# RQ's other registries, in which a job may wait for something.
_REGISTRIES = ("deferred", "ready", "canceled")
# What has ended by itself, or waits for something that is RQ's own.
_NO_ORPHANS = frozenset({b"finished", b"stopped", b"canceled", b"created", b"deferred", b"ready_to_enqueue"})
# What belongs to a job and outlives it when its process dies at the wrong moment.
_LEFTOVERS = (b"rq:results:", b"rq:executions:")

_log = structlog.get_logger("worker.orphans")

# KEYS: the queue's list, the counters, lists, then sorted sets, in which the job may be; last the executions. ARGV: id, how
# many lists, the counter. The job keeps the time since which it waits. Looking through the list of a long queue takes milliseconds.
_BRING_BACK = (
    TO_QUEUE
    + """
local id, lists = ARGV[1], tonumber(ARGV[2])
for place = 3, #KEYS - 1 do
    if place < 3 + lists then
        if redis.call('LPOS', KEYS[place], id) then return 0 end
    elseif redis.call('ZSCORE', KEYS[place], id) then
        return 0
    end
end
for _, name in ipairs(redis.call('ZRANGE', KEYS[#KEYS], 0, -1)) do
    if string.match(name, '^(.*):[^:]*$') == id then return 0 end
end
if redis.call('TTL', 'rq:job:' .. id) >= 0 or not to_queue(id, KEYS[1], 'RPUSH') then return 0 end
redis.call('HINCRBY', KEYS[2], ARGV[3], 1)
return 1
"""
)

# KEYS: what is left over, the job's hash. A hash without data is nobody's job: a heartbeat made it after its end.
_CLEAR = """
if redis.pcall('HEXISTS', KEYS[2], 'data') == 0 then return redis.call('DEL', KEYS[1]) end
return 0
"""


class OrphanFinder:
    """Walks through all jobs now and then, in small steps, and remembers what it found nowhere and since when."""

    def __init__(self, connection: RedisClient, rest: Callable[[], Any] = lambda: None) -> None:
        """`rest` is called between two steps, and may raise to end the walk."""
        self._connection = connection
        self._rest = rest
        self._suspects: dict[bytes, float] = {}
        self._next_walk = 0.0

    def walk_if_due(self) -> int:
        """Walk if it is time to and return how many jobs were brought back; raises QueueUnavailable."""
        began = time.monotonic()
        if began < self._next_walk:
            return 0
        found = self.walk()
        self._next_walk = time.monotonic() + max(PAUSE_SECONDS, PAUSE_FACTOR * (time.monotonic() - began))
        return found

    def walk(self) -> int:
        """Look at every job once and bring back those that were nowhere last time too; return how many."""
        now = time.monotonic()
        with translated():
            nowhere = set(self._nowhere(self._in_lists()))
            self._suspects = {key: self._suspects.get(key, now) for key in nowhere}
            due = [key for key, since in self._suspects.items() if now - since >= LEASE_SECONDS]
            return sum(self._bring_back(key) for key in due[:BROUGHT_BACK_A_WALK])

    def _in_lists(self) -> set[bytes]:
        """Return the ids that are in a list, or being run.

        From the end to the head: what workers take meanwhile at the head moves nothing that is still to be read.
        """
        ids: set[bytes] = set()
        for queue in QUEUES:
            for key in (queue_key(queue), intermediate_key(queue)):
                last = -1
                while chunk := self._connection.lrange(key, last - STEP + 1, last):
                    ids.update(chunk)
                    last -= STEP
                    self._rest()
            ids.update(name.rpartition(b":")[0] for name in self._connection.zrange(started_key(queue), 0, -1))
        return ids

    def _nowhere(self, in_lists: set[bytes]) -> Iterator[bytes]:
        """Yield the keys of jobs that are nowhere, and of what jobs left behind."""
        cursor = -1
        while cursor:
            cursor, keys = self._connection.scan(max(cursor, 0), match="rq:*", count=STEP)
            prefix = job_key("").encode()
            jobs = {key.removeprefix(prefix): key for key in keys if key.startswith(prefix)}
            jobs = {job_id: key for job_id, key in jobs.items() if job_id not in in_lists and JOB_ID.fullmatch(job_id)}
            yield from (jobs[job_id] for job_id in self._unregistered(list(jobs)))
            yield from self._without_job([key for key in keys if key.startswith(_LEFTOVERS)])
            self._rest()

    def _unregistered(self, job_ids: list[bytes]) -> list[bytes]:
        """Return those of the jobs that are in none of the sorted sets, and have not ended."""
        if not job_ids:
            return []
        with self._connection.pipeline(transaction=False) as pipeline:
            for key in _sorted_sets():
                pipeline.zmscore(key, job_ids)
            registered = pipeline.execute()
        return [
            job_id for job_id, *scores in zip(job_ids, *registered, strict=True) if scores.count(None) == len(scores)
        ]

    def _without_job(self, keys: list[bytes]) -> list[bytes]:
        with self._connection.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.exists(job_key("").encode() + key.split(b":", 2)[2])
            return [key for key, exists in zip(keys, pipeline.execute(), strict=True) if not exists]

    def _bring_back(self, key: bytes) -> int:
        job_id = key.split(b":", 2)[2]
        if key.startswith(_LEFTOVERS):
            self._clear(key, job_id)
            return 0
        job = read_hash(self._connection, key.decode())
        if not job or b"data" not in job:
            self._clear(key, job_id)
            return 0
        queue = job.get(b"origin", b"").decode("utf-8", "replace")
        if queue not in QUEUES or job.get(b"status") in _NO_ORPHANS or not _is_ours(job[b"data"]):
            return 0
        sets = [*_sorted_sets(), started_key(queue)]
        lists = [name(each) for each in QUEUES for name in (queue_key, intermediate_key)]
        keys = [queue_key(queue), COUNTERS_KEY, *lists, *sets]
        args = [job_id, len(lists), ORPHANS_FIELD]
        found = int(self._connection.register_script(_BRING_BACK)(keys=keys, args=args))
        if found:
            _log.warning("orphan brought back", job_id=job_id.decode(), queue=queue, status=str(job.get(b"status")))
        return found

    def _clear(self, key: bytes, job_id: bytes) -> None:
        self._connection.register_script(_CLEAR)(keys=[key, job_key("").encode() + job_id], args=[])


def _sorted_sets() -> list[str]:
    own = [name(queue) for queue in QUEUES for name in (lease_key, failed_key, scheduled_key, finished_key)]
    return own + [f"rq:{registry}:{queue}" for registry in _REGISTRIES for queue in QUEUES]


def _is_ours(data: bytes) -> bool:
    """Tell whether a job names a function of ours: what somebody else keeps here is left alone."""
    try:
        return read_call(data)[0] in ALLOWED_FUNCTIONS
    except ValueError:
        return False
