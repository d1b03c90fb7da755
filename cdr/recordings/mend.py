"""Mends what `cdr recordings verify` finds: changes rows, never objects, and only rows that are as they were found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

from cdr.recordings.days import SETTLING_SECONDS, StoredRow
from cdr.recordings.owners import Owner
from cdr.recordings.rows import note_to_fetch
from common.postgres import Database, statement
from worker.recordings.audio_kind import content_type_of
from worker.recordings.recording_store import StoredObject


def reopen(database: Database, lost: Sequence[tuple[StoredRow, str]]) -> set[int]:
    """Have recordings fetched again whose object is not there, each with the reason; return which ones.

    With each go all rows of its account that name the same object, or a recorder would take the lost key over from one of them.
    """
    values = {
        "recording_ids": [row.recording_id for row, _ in lost],
        "seen_at": [row.updated_at for row, _ in lost],
        "errors": [error for _, error in lost],
    }
    with database.transaction() as cursor:
        ids = sorted(row[0] for row in cursor.execute(statement("cdr", "reopen_lost_recordings"), values))
        note_to_fetch(cursor, ids)
    return set(ids)


def requeue(database: Database, recording_ids: list[int]) -> set[int]:
    """Queue recordings again that nobody has fetched for an hour; return which ones."""
    values = {"recording_ids": recording_ids, "settling_seconds": SETTLING_SECONDS}
    with database.transaction() as cursor:
        ids = sorted(row[0] for row in cursor.execute(statement("cdr", "requeue_overdue_recordings"), values))
        note_to_fetch(cursor, ids)
    return set(ids)


def mark_found(database: Database, owners: Iterable[Owner], stored: StoredObject) -> int:
    """Write into the rows of an object's owners, or into new ones, that it is stored; return how many were changed."""
    changed = 0
    with database.transaction() as cursor:
        for owner in owners:
            values = {**asdict(owner), **asdict(stored), "content_type": content_type_of(stored.key)}
            values["settling_seconds"] = SETTLING_SECONDS
            cursor.execute(statement("cdr", "mark_recording_found"), values)
            changed += cursor.rowcount
    return changed
