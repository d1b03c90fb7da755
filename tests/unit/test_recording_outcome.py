"""What each end of a fetch means for the recording's row."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from worker.recordings.audio_facts import AudioFacts
from worker.recordings.recording_outcome import (
    ASKED_TO_WAIT_AT_MOST_SECONDS,
    LONGEST_RETRY_AFTER_SECONDS,
    Closed,
    NotReady,
    PutOff,
    Recording,
    Stored,
    update_for,
)
from worker.recordings.recording_store import StoredObject

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
RECORDING = Recording(7, "acme", "call", "Queue", NOW, "http://audio.invalid/1.mp3", b"key", 0, NOW, 0, None, 120)
WAITS = (10.0, 30.0, 86_400.0)
WEEK_LONG = replace(RECORDING, asked_to_wait_seconds=ASKED_TO_WAIT_AT_MOST_SECONDS + 1)
ASKS_TO_WAIT = PutOff("asks to wait", 120, "host", asked_to_wait=True)


@pytest.mark.parametrize(("attempts", "wait_seconds"), [(0, 10), (1, 30), (2, 86_400)])
def test_attempts_that_find_nothing_become_rarer(attempts: int, wait_seconds: float) -> None:
    name, values = update_for(replace(RECORDING, attempts=attempts), NotReady("HTTP 404"), WAITS)
    assert (name, values["wait_seconds"], values["attempts"]) == ("postpone_recording", wait_seconds, 1)
    assert values["seen_next_attempt_at"] == NOW


def test_an_attempt_more_than_there_are_waits_is_the_last() -> None:
    name, values = update_for(replace(RECORDING, attempts=3), NotReady("HTTP 404"), WAITS)
    assert (name, values) == ("close_recording", {"status": "gone", "error": "gave up: HTTP 404", "attempts": 1})


@pytest.mark.parametrize(("asked", "wait_seconds"), [(5, 10), (60, 60), (1e300, LONGEST_RETRY_AFTER_SECONDS)])
def test_a_host_may_ask_for_a_longer_wait_and_not_for_any(asked: float, wait_seconds: float) -> None:
    assert update_for(RECORDING, NotReady("HTTP 404", asked), WAITS)[1]["wait_seconds"] == wait_seconds


def test_what_is_put_off_costs_no_attempt() -> None:
    tried = replace(RECORDING, attempts=3)
    name, values = update_for(tried, ASKS_TO_WAIT, WAITS)
    assert (name, values["wait_seconds"], values["attempts"]) == ("postpone_recording", 120, 0)


def test_a_host_that_asks_to_wait_for_a_week_is_given_up() -> None:
    name, values = update_for(WEEK_LONG, ASKS_TO_WAIT, WAITS)
    assert (name, values) == ("close_recording", {"status": "gone", "error": "gave up: asks to wait", "attempts": 0})


@pytest.mark.parametrize("asked_to_wait", [False, None], ids=["the store fails", "the host was not asked"])
def test_what_was_put_off_by_us_is_never_given_up(asked_to_wait: bool | None) -> None:
    name, values = update_for(WEEK_LONG, PutOff("why", 60, "cause", asked_to_wait), WAITS)
    assert (name, values["asked_to_wait"]) == ("postpone_recording", asked_to_wait)


def test_a_host_that_has_nothing_does_not_ask_to_wait() -> None:
    assert update_for(WEEK_LONG, NotReady("HTTP 404"), WAITS)[1]["asked_to_wait"] is False


def test_what_is_closed_counts_as_an_attempt() -> None:
    name, values = update_for(RECORDING, Closed("refused", "why"), WAITS)
    assert (name, values) == ("close_recording", {"status": "refused", "error": "why", "attempts": 1})


def test_what_is_stored_says_what_it_is_and_what_is_odd_about_it() -> None:
    stored = Stored(StoredObject("acme/1.mp3", 9, b"sha"), "audio/mpeg", AudioFacts(3.0, "mp3", "cut off"))
    name, values = update_for(RECORDING, stored, WAITS)
    assert name == "mark_recording_stored"
    assert values == {
        "key": "acme/1.mp3",
        "size_bytes": 9,
        "sha256": b"sha",
        "content_type": "audio/mpeg",
        "seconds": 3.0,
        "codec": "mp3",
        "problem": "cut off; audio lasts 3 s, the call talked 120 s",
        "attempts": 1,
    }
