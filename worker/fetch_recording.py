"""Fetches recordings side by side, stores them, and writes down what became of each."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from traceback import extract_tb
from typing import Any, Literal

from common.errors import RecordingGone, RecordingNotReady, RecordingRefused, Transient
from common.postgres import Database, statement
from worker.address_guard import AddressGuard
from worker.audio_kind import SIGNATURE_BYTES, AudioKind, audio_kind
from worker.recording_key import recording_key
from worker.recording_store import RecordingStore, StoredObject
from worker.safe_http import FetchLimits, Response, open_checked

MAX_SIDE_BY_SIDE = 32

# The wait after each attempt that found nothing; an attempt more than there are waits is the last.
RETRY_DELAYS = (
    timedelta(seconds=10),
    timedelta(seconds=30),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=15),
    timedelta(hours=1),
    timedelta(hours=4),
    timedelta(hours=12),
    timedelta(hours=24),
)

# When it is the store that fails, the recording has done nothing wrong: its attempts are not counted.
STORE_RETRY_DELAY = timedelta(minutes=1)


@dataclass(frozen=True)
class Recording:
    """A row of `cdr.recordings` that is pending. `attempts` counts those made before."""

    recording_id: int
    account: str
    call_id: str
    call_type: str | None
    started_at: datetime
    source_url: str
    attempts: int
    next_attempt_at: datetime | None


@dataclass(frozen=True)
class Stored:
    """The recording is in the store."""

    stored: StoredObject
    kind: AudioKind


@dataclass(frozen=True)
class NotReady:
    """The recording may come later. `counted` is false when the cause is ours and not the recording's."""

    error: str
    retry_after_seconds: float = 0
    counted: bool = True


@dataclass(frozen=True)
class Closed:
    """The recording will not be tried again unless a person says so."""

    status: Literal["gone", "refused", "failed"]
    error: str


Outcome = Stored | NotReady | Closed


def next_delay(attempts: int) -> timedelta | None:
    """Say how long to wait after `attempts` (1 or more) have found nothing, None when it is time to give up."""
    return RETRY_DELAYS[attempts - 1] if attempts <= len(RETRY_DELAYS) else None


def fetch_recordings(
    database: Database,
    store: RecordingStore,
    recording_ids: Sequence[int],
    guard: AddressGuard,
    limits: FetchLimits,
) -> list[tuple[int, datetime]]:
    """Fetch the recordings that are still pending, and return those to be tried again, each with when (UTC).

    Each row is updated as soon as its fetch ends; a process killed in between leaves rows pending, and running again
    is harmless. Raises DatabaseUnavailable or DatabaseNotReady, after which running again is harmless too.
    """
    retries = []
    with ThreadPoolExecutor(MAX_SIDE_BY_SIDE, thread_name_prefix="recording") as threads:
        fetches = {
            threads.submit(fetch_one, recording, store, guard, limits): recording
            for recording in _load(database, recording_ids)
        }
        for fetch in as_completed(fetches):
            recording = fetches[fetch]
            retry_at = _record(database, recording, _outcome(fetch))
            if retry_at is not None:
                retries.append((recording.recording_id, retry_at))
    return retries


def fetch_one(recording: Recording, store: RecordingStore, guard: AddressGuard, limits: FetchLimits) -> Outcome:
    """Fetch one recording into the store. Touches no database, so that it can run in any thread."""
    try:
        with open_checked(recording.source_url, guard, limits) as response:
            return _take(response, recording, store)
    except RecordingRefused as error:
        return Closed("refused", str(error))
    except RecordingGone as error:
        return Closed("gone", str(error))
    except RecordingNotReady as error:
        return NotReady(str(error))
    except Transient as error:
        return NotReady(str(error), counted=False)


def _take(response: Response, recording: Recording, store: RecordingStore) -> Outcome:
    if response.status == 410:
        raise RecordingGone("the host says that it is gone (HTTP 410)")
    if response.status != 200:
        return NotReady(f"the host answers HTTP {response.status}", response.retry_after_seconds or 0)
    head = _head(response)
    kind = audio_kind(head)
    if kind is None:
        raise RecordingNotReady("what came is no audio" if head else "what came is empty")
    key = recording_key(recording.account, recording.started_at, recording.call_id, recording.call_type, kind.extension)
    with store.staged(chain((head,), response.chunks)) as staged:
        return Stored(store.place(staged, key), kind)


def _head(response: Response) -> bytes:
    head = b""
    while len(head) < SIGNATURE_BYTES and (chunk := next(response.chunks, b"")):
        head += chunk
    return head


def _outcome(fetch: Future[Outcome]) -> Outcome:
    """Turn an unforeseen error into an outcome of its recording alone."""
    error = fetch.exception()
    if error is None:
        return fetch.result()
    # The message is left out: a library may have put the URL into it, signature and all.
    place = extract_tb(error.__traceback__)[-1]
    return Closed("failed", f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}")


def _load(database: Database, recording_ids: Sequence[int]) -> list[Recording]:
    with database.transaction() as cursor:
        cursor.execute(statement("worker", "pending_recordings"), {"recording_ids": list(recording_ids)})
        return [Recording(*row) for row in cursor]


def _record(database: Database, recording: Recording, outcome: Outcome) -> datetime | None:
    """Write the outcome into the row; return when to try again, if it is this run that has to see to it."""
    name, values = _update(recording, outcome)
    with database.transaction() as cursor:
        cursor.execute(statement("worker", name), {"recording_id": recording.recording_id, **values})
        return values.get("retry_at") if cursor.rowcount else None


def _update(recording: Recording, outcome: Outcome) -> tuple[str, dict[str, Any]]:
    """Name the statement that an outcome asks for, and its parameters."""
    if isinstance(outcome, Stored):
        return "mark_recording_stored", {**asdict(outcome.stored), "content_type": outcome.kind.content_type}
    if isinstance(outcome, Closed):
        return "close_recording", asdict(outcome)
    attempts = recording.attempts + outcome.counted
    delay = next_delay(attempts) if outcome.counted else STORE_RETRY_DELAY
    if delay is None:
        return "close_recording", {"status": "gone", "error": f"gave up: {outcome.error}"}
    return "postpone_recording", {
        "attempts": attempts,
        "retry_at": datetime.now(UTC) + max(delay, timedelta(seconds=outcome.retry_after_seconds)),
        "seen_next_attempt_at": recording.next_attempt_at,
        "error": outcome.error,
    }
