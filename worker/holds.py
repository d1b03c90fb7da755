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
    lease_key,
    queue_key,
    started_key,
    timestamp,
)
from common.redis_client import RedisClient, translated
from worker import hold_scripts

LEASE_SECONDS = 12.0
MAX_JOBS = 800
# As they are in Redis, compressed. A CDR of 800 bytes takes 200; one with a transcript may take millions.
MAX_BYTES = 4_000_000
# The registry of what runs is for people: who is alive is told by the leases, and a stock command must not call our jobs
# abandoned.
STARTED_SECONDS = 86_400
# By this a sweep tells our executions from those of stock workers, which hold no lease.
EXECUTION_PREFIX = "cdr-"

_log = structlog.get_logger("worker.holds")


def holders_key(queue: str) -> str:
    """Return the key of the hash that names the execution that holds each job of a queue."""
    return f"cdr:holders:{queue}"


def place_keys(queue: str) -> list[str]:
    """Return the keys of the places in which a job of a queue may be, in the order in which the scripts take them."""
    places = (lease_key, holders_key, queue_key, intermediate_key, started_key, failed_key, index_key, finished_key)
    return [*(name(queue) for name in places), COUNTERS_KEY]


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
        """Take hold of the job that RQ has just taken, and of jobs behind it that carry up to `room` CDRs or recordings.

        What comes along makes all of it no larger than MAX_BYTES, and the first job is taken whatever its size.
        """
        found = self._run(hold_scripts.TAKE, LEASE_SECONDS, job_id, room, MAX_JOBS, MAX_BYTES)
        self.job_ids = [each.decode() for each in found]
        return list(self.job_ids)

    def renew(self) -> int:
        """Renew the leases of all jobs that are held still."""
        return int(self._run(hold_scripts.RENEW, LEASE_SECONDS, *self.job_ids)) if self.job_ids else 0

    def start(self, job_id: str, worker_name: str) -> bool:
        """Show a job as being run; False when it may not be run, because it is held no longer."""
        return bool(self._run(hold_scripts.START, job_id, worker_name, timestamp(), STARTED_SECONDS))

    def finish_together(self, job_ids: Sequence[str], worker_key: str, loaded: int = 0) -> int:
        """Forget jobs that are done, and count the deliveries that were loaded."""
        return self._settle(job_ids, hold_scripts.FINISH_TOGETHER, worker_key, loaded, timestamp(), *job_ids)

    def finish(self, job_id: str, worker_key: str) -> int:
        """Note that a job which was started is done."""
        return self._settle([job_id], hold_scripts.FINISH_ALONE, worker_key, job_id, timestamp(), RESULT_TTL_SECONDS)

    def put_back(self, job_ids: Sequence[str], *, last: bool = False) -> int:
        """Return jobs to the head of their queue in their order, or to its end, as if they had never been taken."""
        pushed = job_ids if last else list(reversed(job_ids))
        return self._settle(job_ids, hold_scripts.PUT_BACK, "RPUSH" if last else "LPUSH", *pushed)

    def fail(self, job_id: str, worker_key: str, meta: bytes, failed_at: float, result: dict[str, Any]) -> int:
        """Make a failed job of one; `result` is RQ's record of what came of it."""
        words = [word for field in result.items() for word in field]
        return self._settle([job_id], hold_scripts.FAIL, worker_key, job_id, timestamp(), meta, failed_at, *words)

    def replace(self, job_id: str, jobs: Sequence[NewJob]) -> int:
        """Queue other jobs in the place of one."""
        commands = [command for job in jobs for command in job.commands()]
        words = [word for command in commands for word in (len(command), *command)]
        return self._settle([job_id], hold_scripts.REPLACE, job_id, *words)

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
