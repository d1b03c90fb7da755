"""A folder of recordings: what is special to it beside what holds for every store."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import ConfigurationError, Transient
from worker.recordings.recording_staging import LEFT_BEHIND_SECONDS
from worker.recordings.recording_store import RecordingStore

KEY = "acme/2026/11/23/call-Queue.mp3"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "the store"


@pytest.fixture
def store(folder: Path) -> RecordingStore:
    return RecordingStore(folder.as_uri())


def put(store: RecordingStore, content: bytes) -> None:
    with store.staged([content]) as staged:
        store.place(staged, KEY)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_staged_can_be_read_and_is_gone_when_it_is_not_placed(store: RecordingStore, folder: Path) -> None:
    with store.staged([b"a", b"bc"]) as staged:
        assert staged.path.read_bytes() == b"abc"
        assert staged.size_bytes == 3

    assert files(folder) == {}


def test_what_a_killed_process_left_behind_is_removed_at_the_next_start(store: RecordingStore, folder: Path) -> None:
    with store.staged([b"at work"]) as at_work, store.staged([b"left"]) as left:
        long_ago = left.path.stat().st_mtime - LEFT_BEHIND_SECONDS - 60
        os.utime(left.path, (long_ago, long_ago))
        (left.path.parent / "of somebody else").touch()
        os.utime(left.path.parent / "of somebody else", (long_ago, long_ago))

        RecordingStore(folder.as_uri())

        assert {path.name for path in left.path.parent.iterdir()} == {at_work.path.name, "of somebody else"}


def test_an_object_is_as_readable_as_any_new_file_there(store: RecordingStore, folder: Path) -> None:
    put(store, b"abc")

    (folder / "new").touch()
    assert (folder / KEY).stat().st_mode == (folder / "new").stat().st_mode


def test_every_folder_up_to_the_store_is_on_disk_before_a_recording_counts_as_stored(
    store: RecordingStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        flushed.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()).removeprefix(str(folder)))
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", noted)
    put(store, b"abc")

    assert flushed[0].startswith("/.incoming/")
    assert flushed[1:] == ["/acme/2026/11/23", "/acme/2026/11", "/acme/2026", "/acme", ""]


def test_a_folder_that_fails_is_a_passing_trouble(store: RecordingStore, folder: Path) -> None:
    (folder / "acme").write_text("a file where a folder belongs")

    with pytest.raises(Transient, match="the recording store failed"):
        put(store, b"abc")

    assert list(files(folder)) == ["acme"]


def test_a_folder_that_cannot_be_made_stops_the_process(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigurationError, match="CDR_RECORDINGS_URL"):
        RecordingStore((tmp_path / "file" / "store").as_uri())


FULL_DISK = """
import resource, sys
from common.errors import Transient
from worker.recordings.recording_store import RecordingStore
store = RecordingStore(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    with store.staged(iter([bytes(700_000)] * 3)):
        sys.exit("it was staged")
except Transient as error:
    print(error)
"""


def test_a_file_that_cannot_be_written_to_its_end_is_a_passing_trouble_and_leaves_nothing(folder: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, folder.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert "a recording cannot be staged: OSError: " in done.stdout
    assert files(folder) == {}


def test_links_and_other_folders_are_no_recordings(store: RecordingStore, folder: Path) -> None:
    put(store, b"abc")
    day = folder / KEY
    (day.parent / "link.mp3").symlink_to("/etc/hostname")
    (day.parent / "folder.mp3").mkdir()

    assert [found.key for found in store.objects("acme/2026/11/23")] == [KEY]
