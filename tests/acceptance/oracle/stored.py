"""What the product holds of a round: rows, calls, recordings, bodies in quarantine, and what is left to be done."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import redis
from psycopg.rows import dict_row

from common.failed_jobs import Filter, list_failed

Row = dict[str, Any]

CDRS = r"SELECT * FROM cdr.cdrs WHERE call_id LIKE %s"
CALLS = "SELECT * FROM cdr.calls WHERE call_id LIKE %s"
RECORDINGS = "SELECT *, encode(sha256, 'hex') AS digest FROM cdr.recordings WHERE call_id LIKE %s"
BODIES = "SELECT account, body, received_count, status FROM cdr.quarantine WHERE position(%s::bytea IN body) > 0"
TOTALS = """
    SELECT
        (SELECT count(*) FROM cdr.cdrs), (SELECT coalesce(sum(delivery_count), 0) FROM cdr.cdrs),
        (SELECT count(*) FROM cdr.calls), (SELECT count(*) FROM cdr.recordings), (SELECT count(*) FROM cdr.quarantine)
"""
TOTAL_NAMES = ("rows", "deliveries", "calls", "recordings", "quarantined bodies")
OUTBOX = "SELECT kind, error, count(*) FROM cdr.outbox GROUP BY kind, error"
PENDING = "SELECT status, last_error, count(*) FROM cdr.recordings WHERE status <> 'stored' GROUP BY status, last_error"
# RQ keeps a job that ended well for a minute; any other job is one to be done.
ENDED = b"finished"
# Keys that hold jobs to be done, by the Redis command that counts them.
JOB_KEYS: tuple[tuple[str, str], ...] = (
    ("rq:queue:{queue}", "LLEN"),
    ("rq:queue:{queue}:intermediate", "LLEN"),
    ("rq:wip:{queue}", "ZCARD"),
    ("rq:scheduled:{queue}", "ZCARD"),
    ("rq:deferred:{queue}", "ZCARD"),
    ("rq:failed:{queue}", "ZCARD"),
    ("cdr:leases:{queue}", "ZCARD"),
)
QUEUES = ("cdrs", "recordings", "hooks")


@dataclass(frozen=True)
class Stored:
    """A round's part of the tables, and the recordings' files by their path in the store."""

    cdrs: list[Row] = field(default_factory=list)
    calls: list[Row] = field(default_factory=list)
    recordings: list[Row] = field(default_factory=list)
    bodies: list[Row] = field(default_factory=list)
    files: frozenset[str] = frozenset()


def read_stored(database_url: str, mark: str, store: Path, digest_of: Callable[[Path], str]) -> Stored:
    """Read what is stored of the round whose call ids end with `mark`.

    A recording's row gets `file_digest`, the SHA-256 in hex of the file that it names, empty when there is none.
    """
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        pattern = f"%{mark}"
        recordings = connection.execute(RECORDINGS, (pattern,)).fetchall()
        stored = Stored(
            connection.execute(CDRS, (pattern,)).fetchall(),
            connection.execute(CALLS, (pattern,)).fetchall(),
            recordings,
            connection.execute(BODIES, (mark.encode(),)).fetchall(),
            frozenset(path.relative_to(store).as_posix() for path in store.rglob(f"*{mark}-*") if path.is_file()),
        )
    for row in recordings:
        path = store / row["storage_key"] if row["storage_key"] else None
        row["file_digest"] = digest_of(path) if path and path.is_file() else ""
    return stored


def read_totals(database_url: str) -> dict[str, int]:
    """Count everything in the tables, whichever round it is of."""
    with psycopg.connect(database_url) as connection:
        counts = connection.execute(TOTALS).fetchone()
    return dict(zip(TOTAL_NAMES, map(int, counts or ()), strict=True))


def what_is_left(database_url: str, redis_url: str, spool: Path) -> list[str]:
    """Say what is still to be done, a line for each place: queues, registries, jobs in none, outbox, fetches, spools."""
    with psycopg.connect(database_url) as connection:
        lines = [f"outbox: {count} of {kind}, {error}" for kind, error, count in connection.execute(OUTBOX)]
        lines += [f"recordings: {count} {status}, {error}" for status, error, count in connection.execute(PENDING)]
    with redis.Redis.from_url(redis_url) as client:
        lines += _jobs_left(client)
    return lines + list(_spooled(spool))


def _jobs_left(client: Any) -> list[str]:
    keys = [(name.format(queue=queue), command) for queue in QUEUES for name, command in JOB_KEYS]
    counts = [(key, client.execute_command(command, key)) for key, command in keys]
    lines = [f"{key}: {count}" for key, count in counts if count]
    jobs = list(client.scan_iter("rq:job:*", count=1000))
    unfinished = [job for job in jobs if client.hget(job, "status") not in {ENDED, None}]
    if unfinished:
        lines.append(f"jobs not ended: {len(unfinished)}, first {unfinished[0].decode()}")
    return lines + [f"failed job {job.job_id}: {job.reason}, {job.error}" for job in list_failed(client, Filter())]


def _spooled(spool: Path) -> Iterable[str]:
    """Count the rows in spool files: of copies, because a receiver holds its own to itself."""
    for path in sorted(spool.glob("*.spool")):
        with tempfile.TemporaryDirectory() as folder:
            try:
                for part in spool.glob(f"{path.name}*"):
                    shutil.copy(part, folder)
                rows = _rows_in(Path(folder) / path.name)
            except (OSError, sqlite3.Error) as error:
                # It went, or was written to, while it was copied.
                yield f"{path.name}: not read, {error}"
                continue
        if rows:
            yield f"{path.name}: {rows} entries"


def _rows_in(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
        return sum(connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for (name,) in tables.fetchall())
