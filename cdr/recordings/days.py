"""Walks through the recordings day by day: the rows that say that something is stored, and the objects that are there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from typing import Any

from common.postgres import Database, statement
from worker.recordings.recording_backend import FoundObject
from worker.recordings.recording_key import key_part
from worker.recordings.recording_store import RecordingStore

# A page takes some 15 MB.
_PAGE_SIZE = 10_000
_SAMPLED_AT_EACH_END = 100
# What is younger than this may be in the middle of being fetched or stored.
SETTLING_SECONDS = 3600.0


@dataclass(frozen=True)
class Span:
    """Which recordings are looked at: of one account or all, from one day to another, both included; None is any."""

    account: str | None = None
    first_day: date | None = None
    last_day: date | None = None

    @property
    def begins_at(self) -> datetime | None:
        """When the first day begins."""
        return _midnight(self.first_day)

    @property
    def ends_at(self) -> datetime | None:
        """When the last day has ended."""
        return _midnight(self.last_day and self.last_day + timedelta(days=1))

    def holds(self, day: str) -> bool:
        """Tell whether a day, as it stands in keys, is in the span."""
        return (not self.first_day or day >= _slashed(self.first_day)) and (
            not self.last_day or day <= _slashed(self.last_day)
        )

    def as_parameters(self) -> dict[str, Any]:
        """Return what the statements are told."""
        first_day, last_day = (day and _slashed(day) for day in (self.first_day, self.last_day))
        return {
            "account": self.account,
            "first_day": first_day,
            "last_day": last_day,
            "begins_at": self.begins_at,
            "ends_at": self.ends_at,
            "settling_seconds": SETTLING_SECONDS,
        }


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row that says that an object is stored; `is_settled` when it has said so for a while."""

    recording_id: int
    account: str
    call_id: str
    key: str
    size_bytes: int | None
    sha256: bytes | None
    updated_at: datetime
    is_settled: bool


@dataclass(frozen=True)
class Day:
    """One day of one account, `account/year/month/day`: its rows, and after them its objects by key."""

    prefix: str
    rows: list[StoredRow]
    objects: dict[str, FoundObject]


def walk(database: Database, store: RecordingStore, span: Span) -> Iterator[Day]:
    """Yield every day of the span that has rows or objects, in the order of the keys, holding one day at a time.

    The objects of a day are listed after its rows were read, so that a recording that is stored meanwhile is not
    missed: its object is there before its row says so. Raises Transient.
    """
    days = ((_sorted_as(prefix), prefix, list(rows)) for prefix, rows in groupby(_rows(database, span), _prefix_of))
    folders = ((_sorted_as(prefix), prefix) for prefix in _folders(store, span))
    day, folder = next(days, None), next(folders, None)
    while day or folder:
        if folder is None or (day and day[0] < folder[0]):
            assert day
            yield Day(day[1], day[2], {})
            day = next(days, None)
            continue
        rows = day[2] if day and day[0] == folder[0] else []
        yield Day(folder[1], rows, {found.key: found for found in store.objects(folder[1])})
        if rows:
            day = next(days, None)
        folder = next(folders, None)


def sample_keys(database: Database, span: Span) -> list[str]:
    """Return the first and the last keys of the span's objects, by what rows have said for a while."""
    values = {**span.as_parameters(), "each_end": _SAMPLED_AT_EACH_END}
    with database.transaction() as cursor:
        return [row[0] for row in cursor.execute(statement("cdr", "sample_stored_keys"), values)]


def _rows(database: Database, span: Span) -> Iterator[StoredRow]:
    after_key, after_id = "", 0
    while True:
        page = _page(database, span, after_key, after_id, _PAGE_SIZE)
        yield from page
        if len(page) < _PAGE_SIZE:
            return
        after_key, after_id = page[-1].key, page[-1].recording_id


def _page(database: Database, span: Span, after_key: str, after_id: int, size: int) -> list[StoredRow]:
    values = {**span.as_parameters(), "after_key": after_key, "after_id": after_id, "page_size": size}
    with database.transaction() as cursor:
        return [StoredRow(*row) for row in cursor.execute(statement("cdr", "stored_recordings"), values)]


def is_number(name: str, digits: int) -> bool:
    """Tell whether a part of a key is a year, a month or a day, which have so many digits; what else lies there is none of ours."""
    return len(name) == digits and name.isdecimal() and name.isascii()


def _prefix_of(row: StoredRow) -> str:
    return row.key.rpartition("/")[0]


def _sorted_as(prefix: str) -> bytes:
    return f"{prefix}/".encode()


def _folders(store: RecordingStore, span: Span) -> Iterator[str]:
    accounts = store.folders() if span.account is None else [key_part(span.account)]
    for account in sorted(accounts, key=_sorted_as):
        for year in _numbers(store, account, 4):
            for month in _numbers(store, f"{account}/{year}", 2):
                for day in _numbers(store, f"{account}/{year}/{month}", 2):
                    if span.holds(f"{year}/{month}/{day}"):
                        yield f"{account}/{year}/{month}/{day}"


def _numbers(store: RecordingStore, prefix: str, digits: int) -> list[str]:
    return sorted(name for name in store.folders(prefix) if is_number(name, digits))


def _midnight(day: date | None) -> datetime | None:
    return datetime.combine(day, time(), UTC) if day else None


def _slashed(day: date) -> str:
    return f"{day:%Y/%m/%d}"
