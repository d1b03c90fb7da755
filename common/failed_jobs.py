"""Failed jobs, each with its reason: found and listed, in constant memory however many there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from common.failed_details import call_ids_of, read_traceback
from common.failed_index import add_missing, complete_index, index_key, pages
from common.job_queue import QUEUES, JobSerializer, failed_key, job_key
from common.redis_client import RedisClient, translated
from common.requeue import delete_jobs

_HASH_FIELDS = ("data", "meta")


@dataclass(frozen=True)
class Failure:
    """Why a job failed: kept in the job's meta. `failed_at` is in seconds since the epoch."""

    reason: str
    sqlstate: str | None
    error: str
    failed_at: float

    def as_meta(self, before: dict[str, Any]) -> dict[str, Any]:
        """Return the job's meta with this failure in it, and counted."""
        return {**before, **asdict(self), "attempts": _attempts(before, 0) + 1}


@dataclass(frozen=True)
class FailedJob:
    """One failed job, as `cdr failed list --json` prints it; `failed_at` is ISO 8601 in UTC."""

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
    """Which failed jobs are meant; None means any. Times are seconds since the epoch, both included."""

    queue: str | None = None
    reason: str | None = None
    since: float | None = None
    until: float | None = None
    call_id: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is filtered."""
        return self == Filter()

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues whose failed jobs are meant."""
        return QUEUES if self.queue is None else (self.queue,)

    @property
    def looks_inside(self) -> bool:
        """Whether a job has to be read to tell if it is meant."""
        return self.reason is not None or self.call_id is not None

    def matches(self, job: FailedJob) -> bool:
        """Tell whether a job is meant, as far as its queue and time have not decided that already."""
        return (self.reason is None or job.reason == self.reason) and (
            self.call_id is None or self.call_id in job.call_ids
        )


def list_failed(
    connection: RedisClient, wanted: Filter, limit: int | None = None, *, tidy: bool = False
) -> Iterator[FailedJob]:
    """Yield the failed jobs that are meant, oldest first in each queue; raises QueueUnavailable.

    An id whose job is gone is left out, and with `tidy` forgotten.
    """
    found = (job for queue in wanted.queues for job in _list_queue(connection, queue, wanted, tidy=tidy))
    return islice(found, limit)


def find_ids(connection: RedisClient, wanted: Filter, limit: int | None = None) -> Iterator[tuple[str, str]]:
    """Yield queue and id of the failed jobs that are meant, to be moved or deleted; raises QueueUnavailable.

    Jobs are read only where that decides something: 350,000 need not be to be moved all. Then an id whose job is gone is
    among them, which whoever moves it finds out and forgets.
    """
    if wanted.looks_inside or limit is not None:
        yield from ((job.queue, job.job_id) for job in list_failed(connection, wanted, limit, tidy=True))
        return
    for queue in wanted.queues:
        complete_index(connection, queue)
        for page in pages(connection, queue, wanted.since, wanted.until):
            yield from ((queue, job_id) for job_id, _ in page)


def find_failed(connection: RedisClient, job_id: str) -> FailedJob | None:
    """Return one failed job; None when there is none of that id. Raises QueueUnavailable."""
    for queue in QUEUES:
        with translated():
            failed = connection.zscore(failed_key(queue), job_id) is not None
            if failed:
                add_missing(connection, queue, [job_id])
                failed_at = connection.zscore(index_key(queue), job_id)
        if failed:
            return next(iter(_read(connection, queue, [(job_id, failed_at)], tidy=False)), None)
    return None


def _list_queue(connection: RedisClient, queue: str, wanted: Filter, *, tidy: bool) -> Iterator[FailedJob]:
    complete_index(connection, queue)
    for page in pages(connection, queue, wanted.since, wanted.until):
        yield from filter(wanted.matches, _read(connection, queue, page, tidy=tidy))


def _read(connection: RedisClient, queue: str, page: list[tuple[str, float]], *, tidy: bool) -> list[FailedJob]:
    with translated(), connection.pipeline(transaction=False) as pipeline:
        scores = connection.zmscore(failed_key(queue), [job_id for job_id, _ in page])
        for job_id, _ in page:
            pipeline.hmget(job_key(job_id), _HASH_FIELDS)
        # What another type of value has taken the place of is nobody's job, and no reason to list none.
        hashes = pipeline.execute(raise_on_error=False)
    failed, stale, gone = [], [], []
    for (job_id, failed_at), score, values in zip(page, scores, hashes, strict=True):
        data, meta = values if isinstance(values, list) else (b"", None)
        if score is None:
            stale.append(job_id)
        elif data is None:
            gone.append(job_id)
        else:
            failed.append(_describe(connection, queue, job_id, failed_at, data=data, meta=meta))
    if stale:
        # A job that fails again at this moment is missing from the index until the next list completes it.
        with translated():
            connection.zrem(index_key(queue), *stale)
    if gone and tidy:
        delete_jobs(connection, failed_key(queue), index_key(queue), gone)
    return failed


def _describe(
    connection: RedisClient, queue: str, job_id: str, failed_at: float, *, data: bytes, meta: bytes | None
) -> FailedJob:
    failure = _read_meta(meta)
    return FailedJob(
        job_id,
        queue,
        call_ids_of(data),
        str(failure.get("reason", "unknown")),
        None if failure.get("sqlstate") is None else str(failure["sqlstate"]),
        str(failure["error"]) if "error" in failure else _last_line(read_traceback(connection, job_id)),
        datetime.fromtimestamp(failed_at, UTC).isoformat(timespec="seconds"),
        _attempts(failure, 1),
    )


def _read_meta(meta: bytes | None) -> dict[str, Any]:
    """Read what our worker noted of the failure; a job that failed without it has none."""
    try:
        value = JobSerializer.loads(meta or b"{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _attempts(meta: dict[str, Any], otherwise: int) -> int:
    """Read how often a job failed; whoever can write to Redis may have written anything there."""
    attempts = meta.get("attempts")
    return attempts if isinstance(attempts, int) else otherwise


def _last_line(traceback: str | None) -> str:
    lines = (traceback or "").strip().splitlines()
    return lines[-1] if lines else "RQ gives no reason"
