"""Recordings are stored whole or not at all, once, under names that hold nothing dangerous."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from common.errors import ConfigurationError, RecordingNotReady, Transient
from worker.recording_key import recording_key
from worker.recording_staging import LEFT_BEHIND_SECONDS
from worker.recording_store import RecordingStore, StoredObject

KEY = "acme/2026/11/23/call-Queue.mp3"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "the store"


@pytest.fixture
def store(folder: Path) -> RecordingStore:
    return RecordingStore(folder.as_uri())


def put(store: RecordingStore, key: str, chunks: Iterable[bytes]) -> StoredObject:
    with store.staged(chunks) as staged:
        return store.place(staged, key)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_put_is_there_with_its_size_and_hash(store: RecordingStore, folder: Path) -> None:
    content = b"ID3" + bytes(3_000_000)

    stored = put(store, KEY, [content[:10], content[10:2_000_000], content[2_000_000:]])

    assert (stored.key, stored.size_bytes, stored.sha256) == (KEY, len(content), hashlib.sha256(content).digest())
    assert files(folder) == {KEY: content}


def test_the_same_content_again_is_the_same_object(store: RecordingStore, folder: Path) -> None:
    first = put(store, KEY, [b"abc"])

    second = put(store, KEY, [b"a", b"bc"])

    assert second == first
    assert files(folder) == {KEY: b"abc"}


def test_other_content_under_the_same_key_gets_its_hash_as_a_suffix(store: RecordingStore, folder: Path) -> None:
    put(store, KEY, [b"one"])

    others = [put(store, KEY, [b"two"]).key for _ in range(2)]

    renamed = KEY.replace(".mp3", f"-{hashlib.sha256(b'two').hexdigest()}.mp3")
    assert others == [renamed, renamed]
    assert files(folder) == {KEY: b"one", renamed: b"two"}


def test_a_stream_that_breaks_off_leaves_nothing(store: RecordingStore, folder: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield bytes(2_000_000)
        raise RecordingNotReady("broke off")

    with pytest.raises(RecordingNotReady, match="broke off"):
        put(store, KEY, broken())

    assert files(folder) == {}


def test_nothing_is_visible_under_the_key_before_it_is_placed(store: RecordingStore, folder: Path) -> None:
    seen = []

    def watched() -> Iterator[bytes]:
        for _ in range(3):
            yield bytes(2_000_000)
            seen.append((folder / KEY).exists())

    with store.staged(watched()) as staged:
        seen.append((folder / KEY).exists())
        store.place(staged, KEY)
        seen.append((folder / KEY).exists())

    assert seen == [False, False, False, False, True]


def test_what_is_staged_can_be_read_and_is_gone_when_it_is_not_placed(store: RecordingStore, folder: Path) -> None:
    with store.staged([b"a", b"bc"]) as staged:
        assert staged.path.read_bytes() == b"abc"
        assert (staged.size_bytes, staged.sha256) == (3, hashlib.sha256(b"abc").digest())

    assert files(folder) == {}


def test_what_a_killed_process_left_behind_is_removed_at_the_next_start(store: RecordingStore, folder: Path) -> None:
    with store.staged([b"at work"]) as at_work, store.staged([b"left"]) as left:
        long_ago = left.path.stat().st_mtime - LEFT_BEHIND_SECONDS - 60
        os.utime(left.path, (long_ago, long_ago))

        RecordingStore(folder.as_uri())

        assert list(files(folder).values()) == [b"at work"]
        assert at_work.path.exists()


def test_an_object_is_as_readable_as_any_new_file_there(store: RecordingStore, folder: Path) -> None:
    put(store, KEY, [b"abc"])

    (folder / "new").touch()
    assert (folder / KEY).stat().st_mode == (folder / "new").stat().st_mode


def test_many_threads_with_the_same_key_lose_nothing(store: RecordingStore, folder: Path) -> None:
    contents = [bytes([number % 4]) * 100_000 for number in range(32)]

    with ThreadPoolExecutor(32) as threads:
        stored = list(threads.map(lambda content: put(store, KEY, [content]), contents))

    kept = files(folder)
    assert len(kept) == 4
    assert all(kept[entry.key] == content for entry, content in zip(stored, contents, strict=True))


def test_a_store_that_fails_is_a_passing_trouble(store: RecordingStore, folder: Path) -> None:
    (folder / "acme").write_text("a file where a folder belongs")

    with pytest.raises(Transient, match="the recording store failed"):
        put(store, KEY, [b"abc"])

    assert list(files(folder)) == ["acme"]


def test_a_folder_that_cannot_be_made_stops_the_process(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigurationError, match="CDR_RECORDINGS_URL"):
        RecordingStore((tmp_path / "file" / "store").as_uri())


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


def test_long_ids_are_cut_and_still_told_apart(store: RecordingStore, folder: Path) -> None:
    keys = {recording_key("a" * 64, NOON, "/" * 511 + end, "שיחה" * 50, "mp3") for end in "xy"}

    stored = [put(store, key, [content]).key for key in sorted(keys) for content in (b"one", b"two")]

    assert len(set(stored)) == 4
    assert set(files(folder)) == set(stored)


def test_an_account_cannot_leave_the_store_or_enter_its_staging_folder() -> None:
    accounts = [recording_key(account, NOON, "id", "x", "mp3").split("/")[0] for account in ("..", ".incoming")]

    assert accounts == ["%2E.", "%2Eincoming"]


def test_the_day_is_that_of_utc() -> None:
    started_at = datetime(2026, 1, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))

    assert recording_key("acme", started_at, "id", "x", "wav") == "acme/2025/12/31/id-x.wav"
