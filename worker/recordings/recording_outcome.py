"""What a fetch can end in, and what each end means for the recording's row: kept, tried again and when, or given up."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from worker.recordings.audio_facts import AudioFacts, note_difference
from worker.recordings.recording_store import StoredObject

# A host may ask to wait for a recording again and again, which costs no attempt; so long may it go on.
ASKED_TO_WAIT_AT_MOST_SECONDS = 7 * 86_400.0
# No host is believed that a recording is worth a longer wait.
LONGEST_RETRY_AFTER_SECONDS = 86_400.0


@dataclass(frozen=True)
class Recording:
    """A row of `cdr.recordings` that is pending.

    `attempts` counts those made before, `wait_seconds` is how long it is not yet due, `asked_to_wait_seconds` how long its host
    has asked to wait whenever it was asked for this recording, `talk_seconds` how long the call talked.
    """

    recording_id: int
    account: str
    call_id: str
    call_type: str | None
    started_at: datetime
    # Not shown, because whatever shows a recording may be logged.
    source_url: str = field(repr=False)
    source_key: bytes
    attempts: int
    next_attempt_at: datetime | None
    wait_seconds: float
    asked_to_wait_seconds: float | None
    talk_seconds: int | None


@dataclass(frozen=True)
class Stored:
    """The recording is in the store; `attempts` is 0 when it was there already, fetched for another row."""

    stored: StoredObject
    content_type: str
    facts: AudioFacts
    attempts: int = 1


@dataclass(frozen=True)
class NotReady:
    """The host has no recording, and may have it later."""

    error: str
    retry_after_seconds: float = 0


@dataclass(frozen=True)
class PutOff:
    """Nothing was learned of the recording, which counts as no attempt.

    `cause` is the same for those that wait for the same: they come again together. `asked_to_wait` says whether its host, asked
    for this recording, answered that it should wait, which is not obeyed for ever; None: it was not asked for it.
    """

    error: str
    wait_seconds: float
    cause: str
    asked_to_wait: bool | None = None


@dataclass(frozen=True)
class Closed:
    """The recording will not be tried again unless a person says so."""

    status: Literal["gone", "refused", "failed"]
    error: str


Outcome = Stored | NotReady | PutOff | Closed
Update = tuple[str, dict[str, Any]]


def update_for(recording: Recording, outcome: Outcome, waits: tuple[float, ...]) -> Update:
    """Name the statement that an outcome asks for, and its parameters.

    `waits` has the seconds after each attempt that found nothing; an attempt more than there are waits is the last.
    """
    if isinstance(outcome, Stored):
        return "mark_recording_stored", _stored(recording, outcome)
    if isinstance(outcome, Closed):
        return "close_recording", {**asdict(outcome), "attempts": 1}
    if isinstance(outcome, PutOff):
        if outcome.asked_to_wait and (recording.asked_to_wait_seconds or 0) > ASKED_TO_WAIT_AT_MOST_SECONDS:
            return _given_up(outcome.error, 0)
        return _postponed(recording, outcome, outcome.wait_seconds, attempts=0, asked_to_wait=outcome.asked_to_wait)
    if recording.attempts >= len(waits):
        return _given_up(outcome.error, 1)
    retry_after = min(outcome.retry_after_seconds, LONGEST_RETRY_AFTER_SECONDS)
    wait_seconds = max(waits[recording.attempts], retry_after)
    return _postponed(recording, outcome, wait_seconds, attempts=1, asked_to_wait=False)


def _stored(recording: Recording, outcome: Stored) -> dict[str, Any]:
    facts = outcome.facts
    problem = note_difference(facts.problem, facts.seconds, recording.talk_seconds)
    kept = {"content_type": outcome.content_type, "attempts": outcome.attempts}
    return {**asdict(outcome.stored), **asdict(facts), **kept, "problem": problem}


def _given_up(error: str, attempts: int) -> Update:
    return "close_recording", {"status": "gone", "error": f"gave up: {error}", "attempts": attempts}


def _postponed(
    recording: Recording, outcome: NotReady | PutOff, wait_seconds: float, *, attempts: int, asked_to_wait: bool | None
) -> Update:
    return "postpone_recording", {
        "error": outcome.error,
        "wait_seconds": wait_seconds,
        "attempts": attempts,
        "asked_to_wait": asked_to_wait,
        "seen_next_attempt_at": recording.next_attempt_at,
    }
