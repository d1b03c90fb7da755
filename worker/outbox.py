"""Does what the loading transactions noted for after the commit: queues recordings and hooks, folds calls.

Run right after each load, and again and again by the scheduler, which finds what a crash left.
"""

from __future__ import annotations

import time
from hashlib import sha256

from common.job_queue import FETCH_RECORDINGS, RECORDINGS, NewJob
from common.postgres import FOLDING, Database, statement
from common.redis_client import RedisClient, commit
from worker.fold_calls import fold_held_calls, fold_waiting_calls
from worker.queue_hooks import queue_waiting_hooks

RECORDINGS_A_JOB = 32
# The scheduler has other things to do, too.
PASS_SECONDS = 10.0
_ENTRIES_AT_ONCE = 20


def work_off(
    database: Database, connection: RedisClient, seconds: float | None = None, most_hooks: int | None = None
) -> int:
    """Do what waits in the outbox; return how many calls were folded and how many recordings and hooks were queued.

    With `seconds` spend as long on each kind of work, and leave the calls whose fold failed for a time to others. With
    `most_hooks` leave more of these to others too. No kind of work waits for another, whatever becomes of it.
    """
    # The scheduler comes several times a second, mostly for nothing; whoever has just loaded knows that there is something.
    if seconds is None and not anything_waits(database):
        return 0
    at_most = PASS_SECONDS if seconds is None else seconds
    done = 0
    try:
        done += queue_waiting_recordings(database, connection, at_most)
    finally:
        try:
            done += queue_waiting_hooks(database, connection, at_most, most_hooks) if most_hooks != 0 else 0
        finally:
            done += fold_waiting_calls(database, at_most)
            if seconds is None:
                done += fold_held_calls(database, PASS_SECONDS)
    return done


def anything_waits(database: Database) -> bool:
    """Tell whether the outbox holds anything that is to be done, now or later."""
    with database.transaction() as cursor:
        return cursor.execute(statement("worker", "anything_waits")).fetchone() is not None


def queue_waiting_recordings(database: Database, connection: RedisClient, seconds: float = PASS_SECONDS) -> int:
    """Queue a job for every recording that waits in the outbox, for so many seconds, and return how many there were.

    The jobs are in Redis before the outbox forgets them, and are the same however often that is begun.
    """
    total = 0
    ends_at = time.monotonic() + seconds
    while True:
        with database.transaction(FOLDING) as cursor:
            rows = cursor.execute(
                statement("worker", "take_recordings_to_fetch"), {"limit": _ENTRIES_AT_ONCE}
            ).fetchall()
            if not rows:
                return total
            # Were this commit lost, the recordings would be queued again, which fetches once: it need not wait for the disk.
            cursor.execute("SET LOCAL synchronous_commit = off")
            enqueue_once(connection, [job for outbox_id, ids in rows for job in recording_jobs(ids, outbox_id)])
            cursor.execute(statement("worker", "delete_outbox"), {"outbox_ids": [row[0] for row in rows]})
        total += sum(len(ids) for _, ids in rows)
        if time.monotonic() >= ends_at:
            return total


def recording_jobs(recording_ids: list[int], outbox_id: int) -> list[NewJob]:
    """Return the jobs that fetch the recordings of one entry of the outbox, up to 32 in each, the same at every call."""
    batches = [
        recording_ids[start : start + RECORDINGS_A_JOB] for start in range(0, len(recording_ids), RECORDINGS_A_JOB)
    ]
    return [recording_job(batch, _job_id(outbox_id, place, batch)) for place, batch in enumerate(batches)]


def recording_job(recording_ids: list[int], job_id: str) -> NewJob:
    """Return the job that fetches these recordings."""
    return NewJob(RECORDINGS, FETCH_RECORDINGS, (recording_ids,), f"fetch {len(recording_ids)}", job_id)


def _job_id(outbox_id: int, place: int, recording_ids: list[int]) -> str:
    # With what it holds, because a database restored from a backup gives the ids of its outbox a second time.
    return sha256(f"{outbox_id}-{place}-{recording_ids}".encode()).hexdigest()[:32]


def enqueue(connection: RedisClient, jobs: list[NewJob]) -> None:
    """Queue jobs, all or none, and return once they are as safe as an acknowledged CDR; raises QueueUnavailable."""
    commit(connection, [command for job in jobs for command in job.commands()])


def enqueue_once(connection: RedisClient, jobs: list[NewJob]) -> None:
    """Queue as `enqueue` does jobs whose ids come from what they hold; one that is there already stays where it is."""
    commit(connection, [command for job in jobs for command in job.commands_once()])
