"""Jobs that wait for a time of day: kept where RQ keeps its scheduled jobs, moved to their queue when due."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import uuid4

from common.job_queue import QUEUES, NewJob, scheduled_key
from common.redis_client import RedisClient, commit
from common.requeue import move_due_to_queue
from worker.outbox import recording_job

_MOVED_AT_ONCE = 500


def schedule(connection: RedisClient, job: NewJob, due: datetime) -> None:
    """Keep a job until it is due; raises QueueUnavailable."""
    commit(connection, job.scheduled_commands(scheduled_key(job.queue), due.timestamp()))


def schedule_once(connection: RedisClient, job: NewJob, due: datetime) -> None:
    """Keep a job, whose id comes from what it holds, until it is due, unless it is there already; raises QueueUnavailable."""
    commit(connection, job.scheduled_once_commands(due.timestamp()))


def schedule_recordings(connection: RedisClient, retries: Iterable[tuple[int, datetime]]) -> None:
    """Schedule recordings that were not there yet, each in a job of its own."""
    for recording_id, due in retries:
        # Not under the id of an earlier try, which may be the job that runs at this moment.
        schedule(connection, recording_job([recording_id], uuid4().hex), due)


def move_due_jobs(connection: RedisClient) -> int:
    """Move the jobs that are due to their queues and return how many; raises QueueUnavailable."""
    return sum(move_due_to_queue(connection, scheduled_key(queue), queue, _MOVED_AT_ONCE).moved for queue in QUEUES)
