"""Does what the loading transactions noted for after the commit: queues recordings, folds calls.

Run right after each load, and again and again by the scheduler, which finds what a crash left.
"""

from __future__ import annotations

import time

from common.job_queue import FETCH_RECORDINGS, RECORDINGS, NewJob
from common.postgres import FOLDING, Database, statement
from common.redis_client import RedisClient, commit
from worker.fold_calls import fold_held_calls, fold_waiting_calls

RECORDINGS_A_JOB = 32
# The scheduler has other things to do, too.
PASS_SECONDS = 10.0
_ENTRIES_AT_ONCE = 20


def work_off(database: Database, connection: RedisClient, seconds: float | None = None) -> int:
    """Do what waits in the outbox; return how many calls were folded and recordings queued.

    With `seconds` stop after as long, and leave the calls whose fold failed for a time to others. Neither kind of work
    waits for the other, whatever becomes of it.
    """
    at_most = PASS_SECONDS if seconds is None else seconds
    try:
        queued = queue_waiting_recordings(database, connection, at_most)
    finally:
        folded = fold_waiting_calls(database, at_most)
        if seconds is None:
            folded += fold_held_calls(database, PASS_SECONDS)
    return queued + folded


def queue_waiting_recordings(database: Database, connection: RedisClient, seconds: float = PASS_SECONDS) -> int:
    """Queue a job for every recording that waits in the outbox, for so many seconds, and return how many there were.

    The jobs are in Redis before the outbox forgets them: a crash in between queues them twice, which fetches once.
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
            recording_ids = [recording_id for _, ids in rows for recording_id in ids]
            enqueue(connection, recording_jobs(recording_ids))
            cursor.execute(statement("worker", "delete_outbox"), {"outbox_ids": [row[0] for row in rows]})
        total += len(recording_ids)
        if time.monotonic() >= ends_at:
            return total


def recording_jobs(recording_ids: list[int]) -> list[NewJob]:
    """Return the jobs that fetch these recordings, up to 32 in each."""
    batches = [
        recording_ids[start : start + RECORDINGS_A_JOB] for start in range(0, len(recording_ids), RECORDINGS_A_JOB)
    ]
    return [NewJob(RECORDINGS, FETCH_RECORDINGS, (batch,), f"fetch {len(batch)}") for batch in batches]


def enqueue(connection: RedisClient, jobs: list[NewJob]) -> None:
    """Queue jobs, all or none, and return once they are as safe as an acknowledged CDR; raises QueueUnavailable."""
    commit(connection, [command for job in jobs for command in job.commands()])
