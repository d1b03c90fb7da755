"""Compares the rows of recordings with the store, and says of each thing that does not fit what it is, and whether it was mended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from urllib.parse import unquote

from cdr.moments import show_moment
from cdr.recordings.days import SETTLING_SECONDS, Day, Span, StoredRow, walk
from cdr.recordings.mend import mark_found, reopen, requeue
from cdr.recordings.owners import Owner, Ownership, find_owners
from cdr.recordings.strays import Stray, find_strays
from common.postgres import Database, statement
from worker.recordings.recording_backend import FoundObject
from worker.recordings.recording_key import is_named_for
from worker.recordings.recording_store import RecordingStore, StoredObject

_AT_ONCE = 320

WHAT_THEY_ARE = {
    "lost_object": "a row says stored, and no object is there",
    "wrong_object": "a row says stored, and the object has another size or hash",
    "lost_row": "an object is there, and no row says so",
    "damaged_object": "an object has no row, and another content than it is named for, or than its row was stored with",
    "unclear_object": "an object has no row, and may be one of several recordings",
    "unowned_object": "an object is of no call in the database",
    "surplus_object": "an object is of a call whose recordings are all stored elsewhere",
    "stray_object": "an object or a folder lies outside of the folders of days, where no recording is put",
    "overdue": "a recording has been due for an hour, and nobody fetched it",
}
# What --repair does about them: the recorder has yet to fetch what it queues.
WHAT_IS_DONE = {
    "lost_object": "queued to be fetched again",
    "wrong_object": "queued to be fetched again",
    "overdue": "queued",
}
# Nothing is missing, so that nothing has to be mended.
HARMLESS = {"surplus_object", "stray_object"}


@dataclass(frozen=True)
class Finding:
    """One thing that does not fit; what it concerns is None where it concerns none."""

    kind: str
    account: str | None
    call_id: str | None
    recording_id: int | None
    key: str | None
    detail: str
    mended: bool = False


class Verifier:
    """Goes through all recordings of a span, and mends what it can when told to."""

    def __init__(self, database: Database, store: RecordingStore, span: Span, *, deep: bool, repair: bool) -> None:
        self._database = database
        self._store = store
        self._span = span
        self._deep = deep
        self._repair = repair
        self.row_count = 0
        self.young_count = 0
        self.object_count = 0
        self.young_object_count = 0

    def find(self, progress: Callable[[str], None]) -> Iterator[Finding]:
        """Yield what is found, day by day, and tell each day that is done; raises Transient."""
        for day in walk(self._database, self._store, self._span):
            self.row_count += len(day.rows)
            self.young_count += sum(not row.is_settled for row in day.rows)
            self.object_count += len(day.objects)
            self.young_object_count += _count_young_objects(day)
            yield from self._without_object(day)
            yield from self._without_row(day)
            progress(day.prefix)
        yield from map(_stray, find_strays(self._store, self._span))
        yield from self._overdue()

    def _without_object(self, day: Day) -> Iterator[Finding]:
        wrong = ((row, *found) for row in day.rows if row.is_settled and (found := self._fault(row, day.objects)))
        # A row may have been reopened along with one of an earlier batch that named the same object.
        mended: set[int] = set()
        while batch := list(islice(wrong, _AT_ONCE)):
            lost = [(row, f"{WHAT_THEY_ARE[kind]}: {row.key}") for row, kind, _ in batch]
            if self._repair:
                mended |= reopen(self._database, lost)
            for row, kind, detail in batch:
                yield Finding(
                    kind, row.account, row.call_id, row.recording_id, row.key, detail, row.recording_id in mended
                )

    def _fault(self, row: StoredRow, objects: dict[str, FoundObject]) -> tuple[str, str] | None:
        found = objects.get(row.key)
        if found is None:
            return "lost_object", "no object"
        if found.size_bytes != row.size_bytes:
            return "wrong_object", f"{found.size_bytes} bytes, not {row.size_bytes}"
        if self._deep and self._store.digest(row.key) != row.sha256:
            return "wrong_object", "another hash"
        return None

    def _without_row(self, day: Day) -> Iterator[Finding]:
        newest = _newest_settled()
        known = {row.key for row in day.rows}
        strange = [each.key for each in day.objects.values() if each.key not in known and each.modified_at < newest]
        if strange:
            strange = sorted(set(strange) - self._stored_by_now(strange))
            owned = find_owners(self._database, day.prefix, strange)
            for key in strange:
                yield from self._strange(day.objects[key], owned[key])

    def _stored_by_now(self, keys: list[str]) -> set[str]:
        with self._database.transaction() as cursor:
            return {row[0] for row in cursor.execute(statement("cdr", "known_storage_keys"), {"keys": keys})}

    def _strange(self, found: FoundObject, ownership: Ownership) -> Iterator[Finding]:
        if not ownership.owners:
            kind = ("unclear" if ownership.is_unclear else "surplus" if ownership.is_known else "unowned") + "_object"
            account = unquote(found.key.partition("/")[0])
            yield Finding(kind, account, None, None, found.key, f"{found.size_bytes} bytes")
            return
        if not ownership.is_settled:
            self.young_object_count += 1
            return
        kind, mended = "lost_row", False
        if self._repair or self._deep or any(owner.sha256 for owner in ownership.owners):
            sha256 = self._store.digest(found.key)
            if not is_named_for(found.key, sha256) or not ownership.may_be(sha256):
                kind = "damaged_object"
            elif self._repair:
                mended = bool(mark_found(self._database, ownership.owners, _stored(found, sha256)))
        yield from (_of(owner, kind, found, mended=mended) for owner in ownership.owners)

    def _overdue(self) -> Iterator[Finding]:
        after = 0
        while True:
            values: dict[str, Any] = {**self._span.as_parameters(), "after": after, "page_size": _AT_ONCE}
            with self._database.transaction() as cursor:
                page = cursor.execute(statement("cdr", "overdue_recordings"), values).fetchall()
            ids = [row[0] for row in page]
            mended = requeue(self._database, ids) if self._repair else set()
            for recording_id, account, call_id, due_at in page:
                detail = f"due since {show_moment(due_at)}"
                yield Finding("overdue", account, call_id, recording_id, None, detail, recording_id in mended)
            if len(page) < _AT_ONCE:
                return
            after = ids[-1]


def _newest_settled() -> datetime:
    return datetime.now(UTC) - timedelta(seconds=SETTLING_SECONDS)


def _count_young_objects(day: Day) -> int:
    """Count the objects that are compared with nothing: those of young rows only, and young ones without a row."""
    newest, rows_of = _newest_settled(), {row.key: False for row in day.rows}
    rows_of.update({row.key: True for row in day.rows if row.is_settled})
    return sum(not rows_of.get(each.key, each.modified_at < newest) for each in day.objects.values())


def _stored(found: FoundObject, sha256: bytes) -> StoredObject:
    return StoredObject(found.key, found.size_bytes, sha256)


def _stray(stray: Stray) -> Finding:
    account, slash, _ = stray.key.partition("/")
    detail = "a folder" if stray.size_bytes is None else f"{stray.size_bytes} bytes"
    return Finding("stray_object", unquote(account) if slash else None, None, None, stray.key, detail)


def _of(owner: Owner, kind: str, found: FoundObject, *, mended: bool) -> Finding:
    return Finding(kind, owner.account, owner.call_id, None, found.key, f"{found.size_bytes} bytes", mended)
