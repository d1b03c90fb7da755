"""Fetches the recordings of one job side by side, and writes down what became of each."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from traceback import extract_tb

from common.errors import QueueUnavailable, RefusedByDatabase
from common.postgres import Cursor, Database, statement
from worker.outbox import RECORDINGS_A_JOB
from worker.recordings.audio_facts import AudioFacts
from worker.recordings.fetch_gate import FetchGate, Visit
from worker.recordings.fetch_recording import Fetcher
from worker.recordings.recording_outcome import Closed, Outcome, PutOff, Recording, Stored, update_for
from worker.recordings.recording_store import StoredObject
from worker.scheduled_jobs import Retry

MAX_SIDE_BY_SIDE = RECORDINGS_A_JOB

# A job that runs twice finds recordings that its first run has put off; those are left until they are due. A clock that is
# put right may be this much off.
EARLY_SECONDS = 5.0
# What is fetched for another job at the moment is mostly there soon.
SAME_ADDRESS_SECONDS = 5.0
# So that not all who wait for a host come back at the same moment.
_LONGEST_JITTER_SECONDS = 3.0


@dataclass(frozen=True)
class Batch:
    """What fetching the recordings of a job needs; `waits` has the seconds after each attempt that found nothing."""

    database: Database
    fetcher: Fetcher
    gate: FetchGate
    waits: tuple[float, ...]

    def fetch(self, recording_ids: Sequence[int]) -> list[Retry]:
        """Fetch the recordings that are still pending and due, and return all that are to be tried again.

        Each row is updated as soon as its fetch ends; a process killed in between leaves rows pending. Raises
        QueueUnavailable, DatabaseUnavailable or DatabaseNotReady: running again is harmless then, and necessary.
        """
        pending = self._load(recording_ids)
        due = [each for each in pending if each.wait_seconds <= EARLY_SECONDS]
        with self.gate.visit() as visit:
            retries = self._fetch_due(due, visit)
        return retries + [
            Retry(each.recording_id, each.next_attempt_at, each.wait_seconds)
            for each in pending
            if each.wait_seconds > EARLY_SECONDS and each.next_attempt_at is not None
        ]

    def _fetch_due(self, due: list[Recording], visit: Visit) -> list[Retry]:
        mine = visit.lock([each.source_key for each in due])
        # Looked up once nobody else can store it: whoever has stored it before has written that down.
        left = self._take_over(due)
        first = {each.source_key: each for each in reversed(left) if each.source_key in mine}
        waiting = [each for each in left if first.get(each.source_key) is not each]
        retries, put_off, away = [], [], None
        with _side_by_side(self.fetcher, visit, list(first.values())) as fetches:
            for recording, fetch in fetches:
                outcome = _outcome(fetch)
                if isinstance(outcome, QueueUnavailable):
                    away = outcome
                elif isinstance(outcome, PutOff):
                    put_off.append((recording, outcome))
                else:
                    retries += self._record_one(recording, outcome)
        same = PutOff("the same address is being fetched", SAME_ADDRESS_SECONDS, "address")
        put_off += [(each, same) for each in self._take_over(waiting)]
        retries += self._record(_together(put_off))
        if away is not None:
            raise away
        return retries

    def _load(self, recording_ids: Sequence[int]) -> list[Recording]:
        with self.database.transaction() as cursor:
            cursor.execute(statement("worker", "pending_recordings"), {"recording_ids": list(recording_ids)})
            return [Recording(*row) for row in cursor]

    def _take_over(self, recordings: list[Recording]) -> list[Recording]:
        """Mark those as stored whose address was fetched for another row already, and return the others."""
        if not recordings:
            return []
        by_id = {each.recording_id: each for each in recordings}
        with self.database.transaction() as cursor:
            cursor.execute(statement("worker", "stored_twins"), {"recording_ids": list(by_id)})
            twins = cursor.fetchall()
        self._record([(by_id[row[0]], _as_stored(*row[1:])) for row in twins])
        taken_over = {row[0] for row in twins}
        return [each for each in recordings if each.recording_id not in taken_over]

    def _record_one(self, recording: Recording, outcome: Outcome) -> list[Retry]:
        """Write one outcome; one that PostgreSQL refuses is an error of ours, and costs this recording only."""
        try:
            return self._record([(recording, outcome)])
        except RefusedByDatabase as error:
            refused = Closed("failed", f"PostgreSQL refuses what came of it (SQLSTATE {error.sqlstate})")
            return self._record([(recording, refused)])

    def _record(self, outcomes: Sequence[tuple[Recording, Outcome]]) -> list[Retry]:
        """Write outcomes into their rows, in one transaction; return when to try again what this run has to see to.

        In the order of their ids, as whoever else changes several of them does: in any other, two could wait for each other.
        """
        if not outcomes:
            return []
        with self.database.transaction() as cursor:
            written = [_write(cursor, *each, self.waits) for each in sorted(outcomes, key=_recording_id)]
        return [retry for retry in written if retry is not None]


def _recording_id(written: tuple[Recording, Outcome]) -> int:
    return written[0].recording_id


def _write(cursor: Cursor, recording: Recording, outcome: Outcome, waits: tuple[float, ...]) -> Retry | None:
    name, values = update_for(recording, outcome, waits)
    cursor.execute(statement("worker", name), {"recording_id": recording.recording_id, **values})
    if "wait_seconds" not in values:
        return None
    row = cursor.fetchone()
    return None if row is None else Retry(recording.recording_id, row[0], values["wait_seconds"])


@contextmanager
def _side_by_side(
    fetcher: Fetcher, visit: Visit, recordings: list[Recording]
) -> Iterator[Iterator[tuple[Recording, Future[Outcome]]]]:
    """Begin all fetches, and give each with its recording as it ends."""
    with ThreadPoolExecutor(MAX_SIDE_BY_SIDE, thread_name_prefix="recording") as threads:
        fetches = {threads.submit(fetcher.fetch, each, visit): each for each in recordings}
        yield ((fetches[fetch], fetch) for fetch in as_completed(fetches))


def _outcome(fetch: Future[Outcome]) -> Outcome | QueueUnavailable:
    """Turn an unforeseen error into an outcome of its recording alone; a Redis that is away is none of its."""
    error = fetch.exception()
    if error is None:
        return fetch.result()
    if isinstance(error, QueueUnavailable):
        return error
    # The message is left out: a library may have put the URL into it, signature and all.
    place = extract_tb(error.__traceback__)[-1]
    return Closed("failed", f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}")


def _together(put_off: list[tuple[Recording, PutOff]]) -> list[tuple[Recording, PutOff]]:
    """Let those that wait for the same come back together, a little after the last of them may."""
    longest: dict[str, float] = {}
    for _, each in put_off:
        longest[each.cause] = max(each.wait_seconds, longest.get(each.cause, 0.0))
    jitter = {cause: random.uniform(0, _LONGEST_JITTER_SECONDS) for cause in longest}  # noqa: S311 - no secret
    return [
        (recording, replace(each, wait_seconds=longest[each.cause] + jitter[each.cause])) for recording, each in put_off
    ]


def _as_stored(
    key: str,
    size_bytes: int,
    sha256: bytes,
    content_type: str,
    seconds: float | None,
    codec: str | None,
    problem: str | None,
) -> Stored:
    return Stored(StoredObject(key, size_bytes, sha256), content_type, AudioFacts(seconds, codec, problem), attempts=0)
