"""Finds recordings that nobody sees to any more: pending, long overdue, and in no queue.

A crash between the row and Redis is made good by the job that runs again. This is for a Redis that lost what it had.
"""

from __future__ import annotations

import time
from datetime import datetime

import structlog

from common.job_queue import RECORDINGS, failed_key, job_key, queue_key, read_call, scheduled_key
from common.postgres import FOLDING, Database, statement
from common.redis_client import RedisClient, translated
from worker.hourly import Hourly

# Overdue for so long, and queued again at most once in so long.
OVERDUE_SECONDS = 600.0
# While the queue's oldest job has waited for longer, or jobs that were due are still to be moved, recorders are behind: what
# is overdue is in the queue, or would have to go to its end.
BEHIND_SECONDS = 30.0
PASS_SECONDS = 5.0
# A failed job waits for a person, and its recordings with it.
MOST_FAILED_JOBS = 1000
_AT_ONCE = 3200

_log = structlog.get_logger("worker.recordings.stray_recordings")
_too_many_failed = Hourly()


def requeue_strays(database: Database, connection: RedisClient) -> int:
    """Put the recordings that nobody sees to into the outbox again, for a few seconds, and return how many there were.

    One that somebody has after all is fetched once all the same. Raises QueueUnavailable, DatabaseUnavailable or
    DatabaseNotReady.
    """
    with translated():
        failed_ids = _failed_recordings(connection)
        if failed_ids is None or _is_behind(connection):
            return 0
    total, ends_at = 0, time.monotonic() + PASS_SECONDS
    values = {"overdue_seconds": OVERDUE_SECONDS, "failed_ids": failed_ids, "limit": _AT_ONCE}
    while True:
        with database.transaction(FOLDING) as cursor:
            row = cursor.execute(statement("worker", "requeue_strays"), values).fetchone()
        total += row[0] if row else 0
        if row is None or time.monotonic() >= ends_at:
            break
    if total:
        _log.warning("recordings were in no queue", count=total)
    return total


def _is_behind(connection: RedisClient) -> bool:
    seconds, _ = connection.time()
    if connection.zcount(scheduled_key(RECORDINGS), "-inf", seconds - BEHIND_SECONDS):
        return True
    head = connection.lindex(queue_key(RECORDINGS), 0)
    queued_at = connection.hget(job_key(head.decode()), "enqueued_at") if head else None
    try:
        return queued_at is not None and seconds - _read(queued_at) > BEHIND_SECONDS
    except ValueError:
        # What nobody can read is set aside as soon as it is taken.
        return False


def _read(moment: bytes) -> float:
    return datetime.fromisoformat(moment.decode()).timestamp()


def _failed_recordings(connection: RedisClient) -> list[int] | None:
    """Return the recordings of failed jobs; None when these are too many to be looked through."""
    job_ids = connection.zrange(failed_key(RECORDINGS), 0, MOST_FAILED_JOBS)
    if len(job_ids) > MOST_FAILED_JOBS:
        if _too_many_failed.is_due():
            count = connection.zcard(failed_key(RECORDINGS))
            _log.warning(
                "no look for recordings in no queue: too many failed jobs", failed=count, most=MOST_FAILED_JOBS
            )
        return None
    with connection.pipeline(transaction=False) as pipeline:
        for job_id in job_ids:
            pipeline.hget(job_key(job_id.decode()), "data")
        return [each for data in pipeline.execute() if data for each in _ids_in(data)]


def _ids_in(data: bytes) -> list[int]:
    try:
        _function, arguments = read_call(data)
        return [each for each in arguments[1] if isinstance(each, int)]
    except (ValueError, LookupError, TypeError):
        return []
