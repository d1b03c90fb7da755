"""Recordings have names that say which call they are of and hold nothing dangerous."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from worker.recordings.recording_key import call_ids_in, content_key, key_stem, recording_key, stem_of
from worker.recordings.recording_store import RecordingStore

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("call_id", "call_type", "name"),
    [
        ("20180913161553abc", "Queue", "20180913161553abc-Queue.mp3"),
        ("a-b_c~d.e", "Click2Call leg1", "a-b_c~d.e-Click2Call_leg1.mp3"),
        ("../../etc/passwd", None, "%2E.%2F..%2Fetc%2Fpasswd-unknown.mp3"),
        (".hidden", "a/b\\c", "%2Ehidden-a%2Fb%5Cc.mp3"),
        ("50%#1", "שיחה", "50%25%231-%D7%A9%D7%99%D7%97%D7%94.mp3"),
        ("\ud800", "x", "%3F-x.mp3"),
    ],
)
def test_a_name_from_outside_stays_one_harmless_file_name(call_id: str, call_type: str | None, name: str) -> None:
    assert recording_key("acme", NOON, call_id, call_type, "mp3") == f"acme/2026/11/23/{name}"


def test_long_ids_are_cut_and_still_told_apart(tmp_path: Path) -> None:
    store = RecordingStore(tmp_path.as_uri())
    keys = {recording_key("a" * 64, NOON, "/" * 511 + end, "שיחה" * 50, "mp3") for end in "xy"}

    stored = set()
    for key in sorted(keys):
        for content in (b"one", b"two"):
            with store.staged([content]) as staged:
                stored.add(store.place(staged, key).key)

    assert len(stored) == 4
    assert all((tmp_path / key).is_file() for key in stored)


def test_an_account_cannot_leave_the_store_or_enter_its_staging_folder() -> None:
    accounts = [recording_key(account, NOON, "id", "x", "mp3").split("/")[0] for account in ("..", ".incoming")]

    assert accounts == ["%2E.", "%2Eincoming"]


def test_the_day_is_that_of_utc() -> None:
    started_at = datetime(2026, 1, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))

    assert recording_key("acme", started_at, "id", "x", "wav") == "acme/2025/12/31/id-x.wav"


def test_an_object_that_is_named_for_its_content_stays_beside_the_other() -> None:
    assert content_key("acme/2025/12/31/id-x.y.wav", bytes(32)) == f"acme/2025/12/31/id-x.y-{'0' * 64}.wav"


@pytest.mark.parametrize("call_id", ["20180913161553abc", "a-b-c", "x/y z%1", "-", "שיחה"])
@pytest.mark.parametrize("call_type", ["Queue", "a-b", None])
def test_a_key_leads_back_to_its_call(call_id: str, call_type: str | None) -> None:
    key = recording_key("acme", NOON, call_id, call_type, "mp3")

    for each in (key, content_key(key, bytes(32))):
        assert stem_of(each) == key_stem(call_id, call_type)
        assert call_id.replace(" ", "_") in call_ids_in(stem_of(each))
