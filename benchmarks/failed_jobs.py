"""Makes failed jobs in Redis as workers leave them: one CDR each, with its reason."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import chain

from benchmarks.backlog import groups
from benchmarks.traffic import simulated_deliveries
from common.failed_index import index_key
from common.failed_jobs import Failure
from common.job_queue import CDRS, LOAD_CDRS, JobSerializer, NewJob, failed_key, job_key
from common.redis_client import RedisClient

_HOURS = 48
_REASONS = ("refused_by_database", "not_loadable")


def fail_jobs(redis: RedisClient, count: int) -> str:
    """Make `count` failed jobs over two days and return the call id of the one in the middle."""
    now = datetime.now(UTC).timestamp()
    call_id = ""
    for group in groups(enumerate(simulated_deliveries(count, 3, datetime.now(UTC), _HOURS * 3600.0)), 500):
        with redis.pipeline(transaction=True) as pipeline:
            for number, delivery in group:
                failed_at = now - _HOURS * 3600 * (1 - number / count)
                failure = Failure(
                    _REASONS[number % 97 == 0], "23514", "a rule of the database refuses this CDR", failed_at
                )
                job = NewJob(CDRS, LOAD_CDRS, ([delivery],), "load 1 CDR")
                _key, *fields = next(command[1:] for command in job.commands() if command[0] == "HSET")
                meta = JobSerializer.dumps(failure.as_meta({}))
                pipeline.execute_command(
                    "HSET", job_key(job.job_id), *chain(fields, ("status", "failed", "meta", meta))
                )
                pipeline.zadd(failed_key(CDRS), {job.job_id: -1})
                pipeline.zadd(index_key(CDRS), {job.job_id: failed_at})
                if number <= count // 2:
                    call_id = str(delivery.fields["ivruniqueid"])
            pipeline.execute()
    return call_id
