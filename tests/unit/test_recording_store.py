"""Recordings are stored whole or not at all, and once, whatever kind of store keeps them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from s3_server import S3

from common.errors import RecordingNotReady, Transient
from worker.recordings import object_store
from worker.recordings.recording_backend import PART_BYTES
from worker.recordings.recording_key import content_key
from worker.recordings.recording_store import RecordingStore, StoredObject

DAY = "acme/2026/11/23"
KEY = f"{DAY}/call-Queue.mp3"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where recordings are staged, whatever the store."""
    staging = tmp_path / "the store" / ".incoming"
    staging.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(staging))
    return staging


@pytest.fixture(params=["folder", "s3"])
def url(request: pytest.FixtureRequest, folder: Path) -> str:
    if request.param == "folder":
        return folder.parent.as_uri()
    return f"s3://{request.getfixturevalue('s3_bucket')}/a%20prefix/in it"


@pytest.fixture
def store(url: str) -> RecordingStore:
    return RecordingStore(url)


def put(store: RecordingStore, key: str, chunks: Iterable[bytes]) -> StoredObject:
    with store.staged(chunks) as staged:
        return store.place(staged, key)


def sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def kept(store: RecordingStore) -> dict[str, bytes]:
    """Return the objects of the day with the hashes of their content."""
    return {found.key: store.digest(found.key) for found in store.objects(DAY)}


def test_what_is_placed_is_there_with_its_size_and_hash(store: RecordingStore) -> None:
    content = b"ID3" + bytes(3_000_000)

    stored = put(store, KEY, [content[:10], content[10:2_000_000], content[2_000_000:]])

    assert stored == StoredObject(KEY, len(content), sha256(content))
    assert kept(store) == {KEY: sha256(content)}
    found = store.find(KEY)
    assert found is not None
    assert (found.key, found.size_bytes) == (KEY, len(content))


def test_what_is_not_there_is_not_found(store: RecordingStore) -> None:
    assert store.find(KEY) is None
    assert store.folders() == []
    assert list(store.objects(DAY)) == []


def test_folders_are_named_part_by_part(store: RecordingStore) -> None:
    put(store, KEY, [b"a"])
    put(store, KEY.replace("acme", "other"), [b"a"])

    assert sorted(store.folders()) == ["acme", "other"]
    assert store.folders("acme") == ["2026"]
    assert store.folders("acme/2026/11") == ["23"]


def test_the_same_content_again_is_the_same_object(store: RecordingStore) -> None:
    first = put(store, KEY, [b"abc"])

    second = put(store, KEY, [b"a", b"bc"])

    assert second == first
    assert kept(store) == {KEY: sha256(b"abc")}


@pytest.mark.parametrize("other", [b"two", b"longer than that"])
def test_other_content_under_the_same_key_gets_its_hash_as_a_suffix(store: RecordingStore, other: bytes) -> None:
    put(store, KEY, [b"one"])

    others = [put(store, KEY, [other]).key for _ in range(2)]

    renamed = KEY.replace(".mp3", f"-{sha256(other).hex()}.mp3")
    assert others == [renamed, renamed]
    assert kept(store) == {KEY: sha256(b"one"), renamed: sha256(other)}


def test_an_object_that_is_named_for_another_content_than_it_has_is_mended(store: RecordingStore) -> None:
    put(store, KEY, [b"one"])
    named = content_key(KEY, sha256(b"two"))
    put(store, named, [b"damaged"])

    assert put(store, KEY, [b"two"]).key == named

    assert kept(store) == {KEY: sha256(b"one"), named: sha256(b"two")}


def test_a_stream_that_breaks_off_leaves_nothing(store: RecordingStore, folder: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield bytes(2_000_000)
        raise RecordingNotReady("broke off")

    with pytest.raises(RecordingNotReady, match="broke off"):
        put(store, KEY, broken())

    assert kept(store) == {}
    assert list(folder.iterdir()) == []


def test_nothing_is_visible_under_the_key_before_it_is_placed(store: RecordingStore) -> None:
    seen = []

    def watched() -> Iterator[bytes]:
        for _ in range(3):
            yield bytes(2_000_000)
            seen.append(store.find(KEY))

    with store.staged(watched()) as staged:
        seen.append(store.find(KEY))
        store.place(staged, KEY)

    assert seen == [None] * 4
    assert store.find(KEY) is not None


def test_a_recording_that_is_too_large_to_claim_a_name_is_named_for_its_content(
    store: RecordingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store._backend, "most_created_bytes", 1000)
    content = bytes(range(256)) * (10 * PART_BYTES // 1024)

    stored = [put(store, KEY, [content]) for _ in range(2)]

    assert [each.key for each in stored] == [content_key(KEY, sha256(content))] * 2
    assert kept(store) == {content_key(KEY, sha256(content)): sha256(content)}


def test_many_threads_with_the_same_key_lose_nothing(store: RecordingStore) -> None:
    contents = [bytes([number % 4]) * 100_000 for number in range(32)]

    with ThreadPoolExecutor(32) as threads:
        stored = list(threads.map(lambda content: put(store, KEY, [content]), contents))

    objects = kept(store)
    assert len(objects) == 4
    assert all(objects[each.key] == sha256(content) for each, content in zip(stored, contents, strict=True))


TWO_PROCESSES = """
import sys
from worker.recordings.recording_store import RecordingStore
url, key, own = sys.argv[1:]
store = RecordingStore(url)
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    for content in (b"shared", own.encode() + bytes([number])):
        with store.staged([content]) as staged:
            print(store.place(staged, f"{key}-{number}.mp3").key, flush=True)
"""


def test_two_processes_with_the_same_keys_lose_nothing(store: RecordingStore, url: str) -> None:
    command = [sys.executable, "-c", TWO_PROCESSES, url, KEY.removesuffix(".mp3")]
    writers = [
        subprocess.Popen([*command, own], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for own in "xy"
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"

    with ThreadPoolExecutor(2) as threads:
        keys = list(threads.map(lambda writer: writer.communicate("go\n")[0].split(), writers))

    objects = kept(store)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert set(objects) == {*keys[0], *keys[1]}
    # Of each of twenty names: what both wrote, once, and what each wrote.
    assert len(objects) == 60
    for own, written in zip("xy", keys, strict=True):
        contents = [each for number in range(20) for each in (b"shared", own.encode() + bytes([number]))]
        assert [objects[key] for key in written] == [sha256(content) for content in contents]


def test_a_store_can_be_tried_out_and_nothing_of_it_stays(store: RecordingStore, folder: Path) -> None:
    store.try_out()

    assert store.folders() == []
    assert list(folder.iterdir()) == []


def test_a_staging_folder_that_is_full_or_gone_is_a_passing_trouble(store: RecordingStore, folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))

    with pytest.raises(Transient, match="cannot be staged"):
        put(store, KEY, [b"abc"])


def test_an_upload_that_was_applied_and_told_to_have_failed_is_the_same_object_when_it_is_sent_again(
    s3: S3, s3_bucket: str
) -> None:
    store = RecordingStore(f"s3://{s3_bucket}")

    s3.lost_answers = 1

    assert put(store, KEY, [b"abc"]).key == KEY
    assert kept(store) == {KEY: sha256(b"abc")}


def test_an_upload_notes_the_hash_so_that_nothing_is_read_to_compare(s3: S3, s3_bucket: str) -> None:
    store = RecordingStore(f"s3://{s3_bucket}")
    put(store, KEY, [b"abc"])
    s3.requests.clear()

    put(store, KEY, [b"abc"])
    put(store, KEY, [b"two"])

    assert [method for method, _ in s3.requests] == ["PUT", "HEAD", "PUT", "HEAD", "HEAD", "PUT"]


def test_an_object_that_somebody_else_put_there_is_read_to_compare(s3: S3, s3_bucket: str) -> None:
    store = RecordingStore(f"s3://{s3_bucket}")
    object_store.obstore.put(store._backend._store, KEY, b"abc")  # type: ignore[attr-defined]

    assert put(store, KEY, [b"abc"]).key == KEY
    assert put(store, KEY, [b"abd"]).key == content_key(KEY, sha256(b"abd"))
    reads = [method for method, _ in s3.requests].count("GET")
    assert put(store, KEY, [b"longer"]).key == content_key(KEY, sha256(b"longer"))
    assert [method for method, _ in s3.requests].count("GET") == reads
