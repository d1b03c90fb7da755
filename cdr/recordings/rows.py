"""Rows of `cdr.recordings`: found by a filter, made due again, noted for the scheduler to queue."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from urllib.parse import urlsplit, urlunsplit

from common.postgres import Cursor, Database, statement
from worker.outbox import RECORDINGS_A_JOB

PAGE_SIZE = 200
_RETRIED_AT_ONCE = 10 * RECORDINGS_A_JOB


@dataclass(frozen=True)
class RecordingFilter:
    """Which recordings are meant; None means any. Times are those of the calls."""

    ids: list[int] | None = None
    status: str | None = None
    account: str | None = None
    call_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is filtered."""
        return self == RecordingFilter()


@dataclass(frozen=True)
class RecordingRow:
    """One row, with the address of its source without what may be a secret in it. Times are aware."""

    recording_id: int
    account: str
    call_id: str
    call_type: str | None
    started_at: datetime
    status: str
    attempts: int
    next_attempt_at: datetime | None
    bytes: int | None
    seconds: Decimal | None
    codec: str | None
    problem: str | None
    last_error: str | None
    storage_key: str | None
    source_url: str
    created_at: datetime
    updated_at: datetime


def find_recordings(database: Database, wanted: RecordingFilter) -> Iterator[RecordingRow]:
    """Yield the rows that are meant, by their id, without holding more than a page.

    Raises DatabaseUnavailable, DatabaseNotReady.
    """
    after, last = _span(database, wanted)
    while True:
        with database.transaction() as cursor:
            values = {**asdict(wanted), "after": after, "last": last, "page_size": PAGE_SIZE}
            page = [_row(columns) for columns in cursor.execute(statement("cdr", "find_recordings"), values)]
        yield from page
        if len(page) < PAGE_SIZE:
            return
        after = page[-1].recording_id


def _row(columns: Sequence[object]) -> RecordingRow:
    row = dict(zip(RecordingRow.__dataclass_fields__, columns, strict=True))
    return RecordingRow(**{**row, "source_url": without_secrets(str(row["source_url"]))})  # type: ignore[arg-type]


def without_secrets(url: str) -> str:
    """Return an address without its query, which may be a signature, and without a name and password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(no address)"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def count_to_retry(database: Database, wanted: RecordingFilter, limit: int | None) -> int:
    """Count what `retry_recordings` would choose."""
    with database.transaction() as cursor:
        values = {**asdict(wanted), "limit": limit}
        row = cursor.execute(statement("cdr", "count_recordings_to_retry"), values).fetchone()
    return int(row[0]) if row else 0


def retry_recordings(
    database: Database,
    wanted: RecordingFilter,
    *,
    limit: int | None = None,
    rate: float | None = None,
    progress: Callable[[int], None] = lambda _count: None,
) -> int:
    """Make the rows that are meant, not stored and not about to be fetched due at once; return how many.

    A batch is one transaction with its entries in the outbox, at most `rate` a second. Raises DatabaseUnavailable,
    DatabaseNotReady.
    """
    started, count = time.monotonic(), 0
    after, last = _span(database, wanted)
    at_once = _RETRIED_AT_ONCE if rate is None else max(1, min(_RETRIED_AT_ONCE, int(rate)))
    while limit is None or count < limit:
        if rate is not None:
            time.sleep(max(0.0, started + count / rate - time.monotonic()))
        size = at_once if limit is None else min(at_once, limit - count)
        with database.transaction() as cursor:
            values = {**asdict(wanted), "after": after, "last": last, "limit": size}
            ids = sorted(row[0] for row in cursor.execute(statement("cdr", "retry_recordings"), values))
            note_to_fetch(cursor, ids)
        if not ids:
            break
        count, after = count + len(ids), ids[-1]
        progress(count)
    return count


def note_to_fetch(cursor: Cursor, recording_ids: list[int]) -> None:
    """Note recordings in the outbox, so that the scheduler queues them once the transaction has ended."""
    if recording_ids:
        values = {"recording_ids": recording_ids, "a_job": RECORDINGS_A_JOB}
        cursor.execute(statement("cdr", "note_recordings_to_fetch"), values)


def _span(database: Database, wanted: RecordingFilter) -> tuple[int, int]:
    """Return after which id to begin, and with which to end: new ones come all the time.

    The ids of a time lie together, and what is before them would be read in vain, page by page.
    """
    with database.transaction() as cursor:
        if wanted.since is None and wanted.until is None:
            row = cursor.execute(statement("cdr", "last_recording_id")).fetchone()
        else:
            values = {"since": wanted.since, "until": wanted.until}
            row = cursor.execute(statement("cdr", "recording_span"), values).fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)
