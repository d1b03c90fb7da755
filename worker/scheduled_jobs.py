"""Jobs that wait for a time of day: kept where RQ keeps its scheduled jobs, moved to their queue when due."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from itertools import groupby

from common.job_queue import QUEUES, NewJob, scheduled_key
from common.redis_client import RedisClient, commit
from common.requeue import move_due_to_queue
from worker.outbox import RECORDINGS_A_JOB, recording_job

_MOVED_AT_ONCE = 500


@dataclass(frozen=True)
class Retry:
    """A recording that is to be tried again at `due`, which is in `wait_seconds`."""

    recording_id: int
    due: datetime
    wait_seconds: float


def schedule(connection: RedisClient, job: NewJob, due: datetime) -> None:
    """Keep a job until it is due; raises QueueUnavailable."""
    commit(connection, job.scheduled_commands(scheduled_key(job.queue), due.timestamp()))


def schedule_recordings(connection: RedisClient, retries: Iterable[Retry]) -> None:
    """Schedule recordings that were not there yet, all or none, those that are due at the same moment in one job.

    A job's id comes from what it holds and when it is due, so that a job that runs twice schedules it once. Raises
    QueueUnavailable.
    """
    commands = []
    for due, together in groupby(sorted(retries, key=_due), _due):
        wait_seconds = {each.recording_id: each.wait_seconds for each in together}
        ids = sorted(wait_seconds)
        for batch in (ids[start : start + RECORDINGS_A_JOB] for start in range(0, len(ids), RECORDINGS_A_JOB)):
            job = recording_job(batch, _job_id(batch, due))
            commands += job.scheduled_commands_once(wait_seconds[batch[0]])
    if commands:
        commit(connection, commands)


def _due(retry: Retry) -> datetime:
    return retry.due


def _job_id(recording_ids: list[int], due: datetime) -> str:
    return sha256(f"{recording_ids}-{due.isoformat()}".encode()).hexdigest()[:32]


def move_due_jobs(connection: RedisClient) -> int:
    """Move the jobs that are due to their queues and return how many; raises QueueUnavailable."""
    return sum(move_due_to_queue(connection, scheduled_key(queue), queue, _MOVED_AT_ONCE).moved for queue in QUEUES)
