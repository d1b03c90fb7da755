"""Lists recordings, tells where they are and has them fetched again, for the commands `cdr recordings`."""

from __future__ import annotations

from dataclasses import asdict, replace

from cdr.audit import audited
from cdr.database import opened_database
from cdr.known_accounts import require_account
from cdr.printing import print_count, print_json_list, print_line, print_list, print_warning
from cdr.recordings.rows import RecordingFilter, RecordingRow, count_to_retry, find_recordings, retry_recordings
from common.environment import load
from common.postgres import Database
from common.settings import RecordingSettings
from common.store_url import read_store_url

_COLUMNS = (
    "id", "account", "call", "started", "status", "tries", "next try", "bytes", "seconds", "codec", "problem or error",
    "key or source",
)  # fmt: skip


def run_list(wanted: RecordingFilter, limit: int | None, *, as_json: bool) -> None:
    """Print the recordings that are meant."""
    with opened_database("recordings") as database:
        require_account(database, wanted.account)
        found = find_recordings(database, wanted)
        hint = "a later --since shows newer ones"
        print_list(found, _COLUMNS, _cells, as_json=as_json, limit=limit, order="oldest", hint=hint)


def run_retry(wanted: RecordingFilter, limit: int | None, rate: float | None, *, dry_run: bool, as_json: bool) -> None:
    """Have recordings fetched again, or only count them."""
    with opened_database("recordings") as database:
        require_account(database, wanted.account)
        if wanted.ids:
            _tell_stored(database, wanted)
        if dry_run:
            found = count_to_retry(database, wanted, limit)
            print_count(found, "recording would be tried again", "recordings would be tried again", as_json=as_json)
            return
        with audited("recordings retry", {**asdict(wanted), "limit": limit}) as tell:
            count = retry_recordings(database, wanted, limit=limit, rate=rate, progress=tell)
    print_count(count, "recording is tried again now", "recordings are tried again now", as_json=as_json)


def _tell_stored(database: Database, wanted: RecordingFilter) -> None:
    """Say of those that somebody chose one by one why they are not fetched again."""
    for row in find_recordings(database, replace(wanted, status="stored")):
        told = "is stored, and what is stored is not fetched again"
        print_warning(f"cdr: recording {row.recording_id} {told}: cdr recordings verify tells whether it is there")


def run_path(wanted: RecordingFilter, *, as_json: bool) -> int:
    """Print where recordings are, one a line; returns the exit code, 1 when one that is meant is not stored."""
    address = read_store_url(load(RecordingSettings).recordings_url)
    with opened_database("recordings") as database:
        require_account(database, wanted.account)
        rows = list(find_recordings(database, wanted))
    places = {row.recording_id: address.location(row.storage_key) if row.storage_key else None for row in rows}
    if as_json:
        print_json_list({"recording_id": each, "path": place} for each, place in places.items())
    else:
        for place in filter(None, places.values()):
            print_line(place)
    missing = [f"recording {row.recording_id} is not stored: {row.status}" for row in rows if not row.storage_key]
    missing += [f"there is no recording {each}" for each in wanted.ids or [] if each not in places]
    for line in missing or ([] if rows else ["there is no such recording"]):
        print_warning(f"cdr: {line}")
    return 0 if rows and not missing else 1


def _cells(row: RecordingRow) -> tuple[object, ...]:
    return (
        row.recording_id,
        row.account,
        row.call_id,
        row.started_at,
        row.status,
        row.attempts,
        row.next_attempt_at,
        row.bytes,
        row.seconds,
        row.codec,
        row.problem or row.last_error,
        row.storage_key or row.source_url,
    )
