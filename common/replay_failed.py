"""Puts failed jobs back into their queues, or deletes them: a chunk at a time, each job in one step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, islice
from operator import itemgetter

from common.failed_index import CHUNK, index_key
from common.job_queue import failed_key
from common.redis_client import RedisClient
from common.requeue import delete_jobs, move_to_queue


def replay(
    connection: RedisClient,
    jobs: Iterable[tuple[str, str]],
    *,
    jobs_a_second: float | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Move failed jobs, given by queue and id, back into their queues and return how many; each is moved in one step.

    May be interrupted and run again: `progress` is told how many so far. Raises QueueUnavailable.
    """

    def move(queue: str, job_ids: list[str]) -> int:
        return move_to_queue(connection, failed_key(queue), queue, job_ids, index_key=index_key(queue)).moved

    return _in_chunks(jobs, move, jobs_a_second, progress)


def discard(
    connection: RedisClient,
    jobs: Iterable[tuple[str, str]],
    *,
    jobs_a_second: float | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Delete failed jobs for good and return how many; as `replay` otherwise."""

    def delete(queue: str, job_ids: list[str]) -> int:
        return delete_jobs(connection, failed_key(queue), index_key(queue), job_ids)

    return _in_chunks(jobs, delete, jobs_a_second, progress)


def _in_chunks(
    jobs: Iterable[tuple[str, str]],
    act: Callable[[str, list[str]], int],
    jobs_a_second: float | None,
    progress: Callable[[int], None],
) -> int:
    done = 0
    due = time.monotonic()
    for queue, job_ids in _by_queue(jobs, _chunk_size(jobs_a_second)):
        # What was missed while Redis was slow is not made up for: whoever asks for a rate asks for no more at any time.
        time.sleep(max(0.0, due - time.monotonic()))
        due = time.monotonic() + (len(job_ids) / jobs_a_second if jobs_a_second else 0)
        done += act(queue, job_ids)
        progress(done)
    return done


def _chunk_size(jobs_a_second: float | None) -> int:
    """Take a tenth of a second's jobs at a time, so that a slow replay is an even one."""
    return CHUNK if jobs_a_second is None else max(1, min(CHUNK, int(jobs_a_second / 10)))


def _by_queue(jobs: Iterable[tuple[str, str]], size: int) -> Iterator[tuple[str, list[str]]]:
    """Chunk jobs, each chunk of one queue, without holding more than a chunk."""
    for queue, of_queue in groupby(jobs, key=itemgetter(0)):
        ids = map(itemgetter(1), of_queue)
        while chunk := list(islice(ids, size)):
            yield queue, chunk
