"""Failed jobs: listed with their reason, replayed, discarded.

RQ keeps them in a sorted set without a time, so an index of ours holds when each failed. What a stock command put among
the failed ones is added to the index when the list is read.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from common.cdr import find_call_id
from common.errors import NotACdr
from common.job_queue import QUEUES, CdrJob, JobSerializer, failed_key
from common.redis_client import RedisClient, translated
from common.requeue import move_to_queue

CHUNK = 200


@dataclass(frozen=True)
class Failure:
    """Why a job failed: kept in the job's meta. `failed_at` is in seconds since the epoch."""

    reason: str
    sqlstate: str | None
    error: str
    failed_at: float

    def as_meta(self, before: dict[str, Any]) -> dict[str, Any]:
        """Return the job's meta with this failure in it, and counted."""
        return {**before, **asdict(self), "attempts": int(before.get("attempts", 0)) + 1}


@dataclass(frozen=True)
class FailedJob:
    """One failed job, as `cdr failed list --json` prints it."""

    job_id: str
    queue: str
    call_ids: list[str]
    reason: str
    sqlstate: str | None
    error: str
    failed_at: str
    attempts: int


@dataclass(frozen=True)
class Filter:
    """Which failed jobs are meant; None means any. Times are seconds since the epoch."""

    queue: str | None = None
    reason: str | None = None
    since: float | None = None
    until: float | None = None
    call_id: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is filtered."""
        return self == Filter()

    def matches(self, job: FailedJob) -> bool:
        """Tell whether a job is meant, as far as its queue and time have not decided that already."""
        return (self.reason is None or job.reason == self.reason) and (
            self.call_id is None or self.call_id in job.call_ids
        )


def index_key(queue: str) -> str:
    """Return the key of our sorted set of failed jobs, by when they failed."""
    return f"cdr:failed_at:{queue}"


def note_failure(connection: RedisClient, queue: str, job_id: str, failed_at: float) -> None:
    """Add a job to the index."""
    connection.zadd(index_key(queue), {job_id: failed_at})


def list_failed(connection: RedisClient, wanted: Filter, limit: int | None = None) -> Iterator[FailedJob]:
    """Yield the failed jobs that are meant, oldest first in each queue; raises QueueUnavailable."""
    found = (job for queue in _queues(wanted) for job in _list_queue(connection, queue, wanted))
    return islice(found, limit)


def replay(connection: RedisClient, jobs: Iterable[FailedJob], *, jobs_a_second: float | None = None) -> int:
    """Move failed jobs back into their queues and return how many; each is moved in one step.

    May be interrupted and run again. A job whose data is gone leaves the list and is not counted.
    """
    moved = 0
    started = time.monotonic()
    for queue, job_ids in _by_queue(jobs, CHUNK if jobs_a_second is None else max(1, min(CHUNK, int(jobs_a_second)))):
        moved += move_to_queue(connection, failed_key(queue), queue, job_ids).moved
        with translated():
            connection.zrem(index_key(queue), *job_ids)
        if jobs_a_second is not None:
            time.sleep(max(0.0, started + moved / jobs_a_second - time.monotonic()))
    return moved


def discard(connection: RedisClient, jobs: Iterable[FailedJob]) -> int:
    """Delete failed jobs for good and return how many."""
    discarded = 0
    for queue, job_ids in _by_queue(jobs, CHUNK):
        with translated(), connection.pipeline(transaction=True) as pipeline:
            for job_id in job_ids:
                pipeline.zrem(failed_key(queue), job_id)
                pipeline.zrem(index_key(queue), job_id)
                pipeline.delete(CdrJob.key_for(job_id), f"rq:results:{job_id}")
            discarded += sum(pipeline.execute()[0::3])
    return discarded


def _queues(wanted: Filter) -> tuple[str, ...]:
    return QUEUES if wanted.queue is None else (wanted.queue,)


def _by_queue(jobs: Iterable[FailedJob], size: int) -> Iterator[tuple[str, list[str]]]:
    """Chunk jobs, each chunk of one queue, without holding more than a chunk."""
    chunk: list[FailedJob] = []
    for job in jobs:
        if chunk and (len(chunk) >= size or chunk[0].queue != job.queue):
            yield chunk[0].queue, [each.job_id for each in chunk]
            chunk = []
        chunk.append(job)
    if chunk:
        yield chunk[0].queue, [each.job_id for each in chunk]


def _list_queue(connection: RedisClient, queue: str, wanted: Filter) -> Iterator[FailedJob]:
    _complete_index(connection, queue)
    low = "-inf" if wanted.since is None else wanted.since
    high = "+inf" if wanted.until is None else wanted.until
    with translated():
        ids = connection.zrangebyscore(index_key(queue), low, high)
    for start in range(0, len(ids), CHUNK):
        yield from filter(
            wanted.matches, _read(connection, queue, [each.decode() for each in ids[start : start + CHUNK]])
        )


def _read(connection: RedisClient, queue: str, job_ids: list[str]) -> list[FailedJob]:
    with translated(), connection.pipeline(transaction=False) as pipeline:
        for job_id in job_ids:
            pipeline.zscore(failed_key(queue), job_id)
            pipeline.zscore(index_key(queue), job_id)
            pipeline.hgetall(CdrJob.key_for(job_id))
        replies = pipeline.execute()
        gone = [job_id for job_id, score in zip(job_ids, replies[0::3], strict=True) if score is None]
        if gone:
            connection.zrem(index_key(queue), *gone)
    return [
        _describe(connection, queue, job_id, failed_at, data)
        for job_id, score, failed_at, data in zip(job_ids, replies[0::3], replies[1::3], replies[2::3], strict=True)
        if score is not None
    ]


def _describe(
    connection: RedisClient, queue: str, job_id: str, failed_at: float, data: dict[bytes, bytes]
) -> FailedJob:
    meta: dict[str, Any] = {}
    call_ids: list[str] = []
    if data.get(b"data"):
        job = CdrJob(job_id, connection=connection)
        job.restore(data)
        meta = job.meta
        call_ids = call_ids_of(job)
    return FailedJob(
        job_id,
        queue,
        call_ids,
        str(meta.get("reason", "abandoned" if data else "data_gone")),
        meta.get("sqlstate"),
        str(meta.get("error", "RQ gives no reason: see rq info" if data else "the job's data is gone")),
        datetime.fromtimestamp(failed_at, UTC).isoformat(timespec="seconds"),
        int(meta.get("attempts", 1)),
    )


def call_ids_of(job: CdrJob) -> list[str]:
    """Return the ids of the calls in a job's payload, as far as it is one of deliveries."""
    try:
        deliveries = JobSerializer.loads(job.data)[2][1]
        return [find_call_id(delivery[5]) for delivery in deliveries]
    except (ValueError, TypeError, LookupError, AttributeError, NotACdr):
        return []


def _complete_index(connection: RedisClient, queue: str) -> None:
    """Add to the index what failed without us: found now, so noted as of now."""
    with translated():
        missing = connection.zdiff([failed_key(queue), index_key(queue)])
        if missing:
            connection.zadd(index_key(queue), dict.fromkeys(missing, time.time()))
