"""Bodies in quarantine: found, read, marked as replayed or discarded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import islice
from typing import Literal

from common.postgres import Database, statement

PAGE_SIZE = 200


@dataclass(frozen=True)
class BodyFilter:
    """Which kept bodies are meant; None means any. A body is in a time when one of its receipts may be."""

    ids: list[int] | None = None
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    account: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is filtered."""
        return self == BodyFilter()


@dataclass(frozen=True)
class KeptBody:
    """One row of `cdr.quarantine` without its bytes; `size_bytes` is their number. Times are aware."""

    quarantine_id: int
    received_at: datetime
    last_received_at: datetime
    received_count: int
    account: str
    format: str
    reason: str
    error: str
    size_bytes: int


@dataclass(frozen=True)
class WholeBody(KeptBody):
    """One row of `cdr.quarantine`."""

    status: str
    headers: dict[str, str]
    body: bytes


def find_bodies(database: Database, wanted: BodyFilter, limit: int | None = None) -> Iterator[KeptBody]:
    """Yield the kept bodies that are meant, by their id, without holding more than a page.

    They may be marked meanwhile. Raises DatabaseUnavailable, DatabaseNotReady.
    """
    return islice(_find_all(database, wanted), limit)


def read_body_of(database: Database, quarantine_id: int) -> WholeBody | None:
    """Read one row whatever its status; None when there is none. Raises as `find_bodies` does."""
    with database.transaction() as cursor:
        row = cursor.execute(statement("worker", "read_kept_body"), {"quarantine_id": quarantine_id}).fetchone()
    return None if row is None else WholeBody(*row)


def mark(database: Database, ids: Sequence[int], status: Literal["replayed", "discarded"]) -> int:
    """Mark those of the bodies that are kept still, and return how many. Raises as `find_bodies` does."""
    with database.transaction() as cursor:
        cursor.execute(statement("worker", "mark_kept_bodies"), {"status": status, "ids": list(ids)})
        return cursor.rowcount


def _find_all(database: Database, wanted: BodyFilter) -> Iterator[KeptBody]:
    after, last = 0, _last_id(database)
    while True:
        with database.transaction() as cursor:
            values = {**asdict(wanted), "after": after, "last": last, "page_size": PAGE_SIZE}
            page = [KeptBody(*row) for row in cursor.execute(statement("worker", "find_kept_bodies"), values)]
        yield from page
        if len(page) < PAGE_SIZE:
            return
        after = page[-1].quarantine_id


def _last_id(database: Database) -> int:
    """Return where to end: a replay keeps what it cannot take of an array as rows of their own."""
    with database.transaction() as cursor:
        row = cursor.execute(statement("worker", "last_body_id")).fetchone()
    return int(row[0]) if row else 0
