"""When each failed job failed: a sorted set of ours beside RQ's registry, which holds no times.

It may lag behind RQ's registry, which stock commands change too, and is put right whenever it is read.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

from common.queue_format import failed_key, job_key
from common.redis_client import RedisClient, translated

CHUNK = 500


def index_key(queue: str) -> str:
    """Return the key of our sorted set of failed jobs, by when they failed."""
    return f"cdr:failed_at:{queue}"


def note_failure(connection: RedisClient, queue: str, job_id: str, failed_at: float) -> None:
    """Add a job to the index; `failed_at` is in seconds since the epoch."""
    connection.zadd(index_key(queue), {job_id: failed_at})


def complete_index(connection: RedisClient, queue: str) -> None:
    """Add what failed without us to the index, as of when RQ says that it ended; raises QueueUnavailable."""
    cursor = -1
    with translated():
        while cursor:
            cursor, found = connection.zscan(failed_key(queue), max(cursor, 0), count=CHUNK)
            add_missing(connection, queue, [job_id.decode() for job_id, _ in found if _is_text(job_id)])


def add_missing(connection: RedisClient, queue: str, job_ids: list[str]) -> None:
    """Add those of the failed jobs that the index lacks."""
    if not job_ids:
        return
    scores = connection.zmscore(index_key(queue), job_ids)
    missing = [job_id for job_id, score in zip(job_ids, scores, strict=True) if score is None]
    if not missing:
        return
    with connection.pipeline(transaction=False) as pipeline:
        for job_id in missing:
            pipeline.hget(job_key(job_id), "ended_at")
        times = [_seconds(ended_at) for ended_at in pipeline.execute()]
    # A worker may have noted one of them in the meantime, and knows better.
    connection.zadd(index_key(queue), dict(zip(missing, times, strict=True)), nx=True)


def pages(
    connection: RedisClient, queue: str, since: float | None, until: float | None
) -> Iterator[list[tuple[str, float]]]:
    """Yield job ids with the time of their failure, oldest first, in chunks; raises QueueUnavailable.

    They may be removed in the meantime. What fails after the start is not waited for: the walk ends after as many
    jobs as there were, or a replay whose jobs fail again would never end.
    """
    low, high = "-inf" if since is None else since, "+inf" if until is None else until
    with translated():
        left: int = connection.zcount(index_key(queue), low, high)
    # Jobs of one instant have no order to go on from, so those of the last instant are remembered.
    seen: dict[bytes, float] = {}
    while left > 0:
        with translated():
            found = connection.zrange(
                index_key(queue), low, high, byscore=True, offset=0, num=CHUNK + len(seen), withscores=True
            )
        page = [(job_id, score) for job_id, score in found if job_id not in seen][:left]
        if not page:
            return
        yield [(job_id.decode(), score) for job_id, score in page if _is_text(job_id)]
        left -= len(page)
        low = page[-1][1]
        seen = {job_id: score for job_id, score in [*seen.items(), *page] if score == low}


def _is_text(job_id: bytes) -> bool:
    """Tell whether this may be the id of a job: RQ reads them all as UTF-8."""
    try:
        job_id.decode()
    except UnicodeDecodeError:
        return False
    return True


def _seconds(ended_at: bytes | None) -> float:
    """Read RQ's time; of a job that holds none nothing more is known than that it has failed by now."""
    try:
        return datetime.fromisoformat((ended_at or b"").decode()).timestamp()
    except ValueError:
        return time.time()
