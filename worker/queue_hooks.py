"""Queues a job for every hook and CDR that the loading transactions noted in the outbox."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import NamedTuple

import structlog

from common.job_queue import HOOKS, NewJob, failed_key, queue_key, scheduled_key
from common.postgres import FOLDING, Cursor, Database, statement
from common.redis_client import RedisClient, commit, translated
from worker.hook_jobs import HookCall, event_id, hook_job
from worker.hourly import Hourly

# So many are in Redis at most, whether they wait, are tried again later or have failed: receivers need its memory, and failed
# jobs stay until a person sees to them. The others wait in the outbox.
MOST_IN_REDIS = 100_000
_ENTRIES_AT_ONCE = 20
# An entry may hold 1,000 CDRs for each of several hooks, and no other client of Redis is served during a MULTI.
_JOBS_A_PASS = 2_000
_JOBS_A_COMMIT = 200

_log = structlog.get_logger("worker.queue_hooks")
_full = Hourly()


class _Entry(NamedTuple):
    """An entry of the outbox; the CDRs' columns are lists of the same length."""

    outbox_id: int
    noted_at: datetime
    identities: list[bytes]
    provider_times: list[datetime]
    call_ids: list[str]
    hooks: list[str]
    is_update: bool
    job_count: int

    def jobs(self) -> Iterator[NewJob]:
        """Yield the jobs of the entry, the same at every call."""
        cdrs = zip(self.identities, self.provider_times, self.call_ids, strict=True)
        for identity, provider_time, call_id in cdrs:
            key = identity.hex()
            event = event_id(self.outbox_id, self.noted_at, key)
            for hook in self.hooks:
                yield hook_job(HookCall(hook, event, key, provider_time, call_id, self.is_update))


def queue_waiting_hooks(database: Database, connection: RedisClient, seconds: float, most: int | None = None) -> int:
    """Queue what waits in the outbox for hooks, for so many seconds, and return how many jobs there were.

    With `most` queue no more jobs than that, and leave the entries that make more to whoever has more time. The jobs are in
    Redis before the outbox forgets them, and are the same however often that is begun. Raises QueueUnavailable,
    DatabaseUnavailable or DatabaseNotReady.
    """
    total = 0
    ends_at = time.monotonic() + seconds
    while True:
        with database.transaction(FOLDING) as cursor:
            entries = _take(cursor, None if most is None else most - total)
            if not entries or _is_full(connection):
                return total
            # Were this commit lost, the hooks would be called again, as they may be after any crash: it need not wait for the disk.
            cursor.execute("SET LOCAL synchronous_commit = off")
            _enqueue(connection, entries)
            cursor.execute(statement("worker", "delete_outbox"), {"outbox_ids": [each.outbox_id for each in entries]})
        total += sum(entry.job_count for entry in entries)
        if time.monotonic() >= ends_at:
            return total


def _is_full(connection: RedisClient) -> bool:
    with translated(), connection.pipeline(transaction=False) as pipeline:
        pipeline.llen(queue_key(HOOKS))
        pipeline.zcard(scheduled_key(HOOKS))
        pipeline.zcard(failed_key(HOOKS))
        waiting, scheduled, failed = pipeline.execute()
    is_full = bool(waiting + scheduled + failed >= MOST_IN_REDIS)
    if is_full and _full.is_due():
        _log.warning("hooks stay in the outbox", waiting=waiting, scheduled=scheduled, failed=failed)
    return is_full


def _take(cursor: Cursor, most: int | None) -> list[_Entry]:
    """Return the oldest entries that make up to `most` jobs together, without it those of a pass and one at least.

    Others that were locked with them wait for the next.
    """
    cursor.execute(statement("worker", "take_hooks_to_run"), {"limit": _ENTRIES_AT_ONCE, "most": most})
    room = _JOBS_A_PASS if most is None else most
    taken: list[_Entry] = []
    for entry in (_Entry(*row) for row in cursor.fetchall()):
        room -= entry.job_count
        if taken and room < 0:
            break
        taken.append(entry)
    return taken


def _enqueue(connection: RedisClient, entries: list[_Entry]) -> None:
    jobs = (job for entry in entries for job in entry.jobs())
    while batch := list(islice(jobs, _JOBS_A_COMMIT)):
        commit(connection, [command for job in batch for command in job.commands_once()])
