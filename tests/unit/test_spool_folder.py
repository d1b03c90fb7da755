"""Several processes share a folder: each file has one owner, what a dead one left is taken over, and nothing is in the way."""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from spooling import ENOUGH, batch, numbers, only, spool_in
from spooling import every_file_is_closed as _every_file_is_closed  # noqa: F401 - used by every test
from structlog.testing import capture_logs

from api.spool import Spool
from api.spool_file import FORMAT_VERSION
from api.spool_folder import SpoolFolder
from api.spool_lock import HeldFile
from common.errors import SpoolUnavailable

ROOT = Path(__file__).parents[2]


def leave(folder: Path, *held: int) -> Path:
    """Leave a file behind as a receiver does that has ended with entries in its spool."""
    before = set(folder.glob("*.spool"))
    spool = Spool(HeldFile.make(folder), ENOUGH)
    spool.append([batch(number) for number in held])
    spool.close()
    (path,) = set(folder.glob("*.spool")) - before
    return path


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_that_is_missing_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    spool_in(folder).append([batch(1)])
    assert re.fullmatch(rf"\d+-{os.getpid()}-[0-9a-f]+\.spool", only(folder, "*.spool").name)


@pytest.mark.parametrize("place", ["file/spool", "file"])
def test_a_folder_that_cannot_be_made_is_no_spool(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SpoolUnavailable):
        spool_in(tmp_path / place)


def test_a_folder_that_cannot_be_written_is_no_spool() -> None:
    # Not even root may make files there.
    with pytest.raises(SpoolUnavailable):
        spool_in(Path("/proc/self"))


def test_a_folder_that_cannot_be_read_cannot_be_adopted_from(tmp_path: Path) -> None:
    with pytest.raises(SpoolUnavailable):
        SpoolFolder(tmp_path / "missing", ENOUGH).adopt()


def test_a_process_goes_on_with_the_oldest_file_that_was_left(tmp_path: Path) -> None:
    for number, name in enumerate(["1700000002-1-a.spool", "1700000001-1-b.spool"]):
        leave(tmp_path, number).rename(tmp_path / name)
    assert numbers(spool_in(tmp_path)) == [1]


def test_a_file_that_is_held_is_left_alone(tmp_path: Path) -> None:
    folder = SpoolFolder(tmp_path, ENOUGH)
    mine = folder.open()
    mine.append([batch(1)])
    other = SpoolFolder(tmp_path, ENOUGH).open()
    assert numbers(other) == []
    assert folder.adopt() == []
    assert SpoolFolder(tmp_path, ENOUGH).adopt() == []
    mine.append([batch(2)])
    assert numbers(mine) == [1, 2]


def test_every_file_that_nobody_holds_is_adopted_once(tmp_path: Path) -> None:
    folder = SpoolFolder(tmp_path, ENOUGH)
    folder.open()
    leave(tmp_path, 1)
    leave(tmp_path, 2)
    assert sorted(map(numbers, folder.adopt())) == [[1], [2]]
    assert folder.adopt() == []


def test_an_adopted_file_is_removed_once_it_was_drained(tmp_path: Path) -> None:
    folder = SpoolFolder(tmp_path, ENOUGH)
    mine = folder.open()
    leave(tmp_path, 1)
    (adopted,) = folder.adopt()
    adopted.delete([1])
    adopted.close()
    mine.close()
    assert names_in(tmp_path) == []


def test_a_file_with_nothing_in_it_is_cleared_away_and_not_adopted(tmp_path: Path) -> None:
    folder = SpoolFolder(tmp_path, ENOUGH)
    mine = folder.open()
    spool = Spool(HeldFile.make(tmp_path), ENOUGH)
    spool._file.close()
    spool._held.release()
    assert folder.adopt() == []
    mine.close()
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("suffix", [".lock", "-wal", "-shm", "-journal"])
def test_what_a_crash_left_without_a_file_is_cleared_away(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"1700000000-1-a.spool{suffix}").write_bytes(b"left")
    spool_in(tmp_path).close()
    assert names_in(tmp_path) == []


def test_what_is_left_of_a_file_is_not_cleared_away_while_somebody_holds_its_lock(tmp_path: Path) -> None:
    # As while another process makes its file, or removes it.
    held = HeldFile.take(tmp_path / "1700000000-1-a.spool")
    assert held is not None
    (tmp_path / "1700000000-1-a.spool-wal").write_bytes(b"")
    spool_in(tmp_path).close()
    assert names_in(tmp_path) == ["1700000000-1-a.spool-wal", "1700000000-1-a.spool.lock"]


def test_a_file_that_was_never_finished_is_used(tmp_path: Path) -> None:
    (tmp_path / "1700000000-1-a.spool").touch()
    spool = spool_in(tmp_path)
    spool.append([batch(1)])
    assert [path.name for path in tmp_path.glob("*.spool")] == ["1700000000-1-a.spool"]
    assert numbers(spool) == [1]


def test_files_that_are_none_of_ours_are_left_alone(tmp_path: Path) -> None:
    for name in ("notes.txt", "1-1-a.spool.damaged", "1-1-a.spool.damaged-wal", "other.lock"):
        (tmp_path / name).write_text("kept")
    spool_in(tmp_path).close()
    assert len(names_in(tmp_path)) == 4


def make_newer(path: Path) -> bytes:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {FORMAT_VERSION + 1}")
    connection.execute("ALTER TABLE entries RENAME TO entries_of_tomorrow")
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    return path.read_bytes()


def test_a_file_of_a_newer_release_is_left_as_it_is_and_told_once(tmp_path: Path) -> None:
    path = leave(tmp_path, 1)
    content = make_newer(path)
    folder = SpoolFolder(tmp_path, ENOUGH)
    with capture_logs() as lines:
        mine = folder.open()
        assert folder.adopt() == []
        assert folder.adopt() == []
    assert [line["file"] for line in lines] == [path.name]
    assert numbers(mine) == []
    assert path.read_bytes() == content
    assert folder.damaged() == []


def test_a_newer_release_can_still_take_the_file_that_was_left_alone(tmp_path: Path) -> None:
    path = leave(tmp_path, 1)
    make_newer(path)
    SpoolFolder(tmp_path, ENOUGH).open()
    held = HeldFile.take(path)
    assert held is not None
    assert held.is_in_place


def test_a_file_that_cannot_be_opened_now_is_tried_again_and_told_once(tmp_path: Path) -> None:
    path = leave(tmp_path, 1)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    folder = SpoolFolder(tmp_path, ENOUGH)
    with capture_logs() as lines:
        mine = folder.open()
        assert folder.adopt() == []
    assert [line["file"] for line in lines] == [path.name]
    blocker.close()
    assert [numbers(spool) for spool in folder.adopt()] == [[1]]
    assert numbers(mine) == []


def test_a_file_that_may_not_be_locked_does_not_stop_the_others(tmp_path: Path) -> None:
    leave(tmp_path, 1)
    (tmp_path / "1-1-a.spool").touch()
    (tmp_path / "1-1-a.spool.lock").mkdir()
    assert numbers(spool_in(tmp_path)) == [1]


def test_a_new_file_that_cannot_be_used_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_disk(_: HeldFile) -> None:
        raise SpoolUnavailable("no disk")

    monkeypatch.setattr(HeldFile, "sync_folder", no_disk)
    with pytest.raises(SpoolUnavailable):
        spool_in(tmp_path)
    assert names_in(tmp_path) == []


def test_a_lock_whose_file_was_removed_before_it_was_taken_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = leave(tmp_path, 1)
    lock = fcntl.flock

    def lock_late(descriptor: int, operation: int) -> None:
        monkeypatch.undo()
        other = HeldFile.take(path)
        assert other is not None
        other.remove()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    assert HeldFile.take(path) is None


def test_a_lock_whose_file_was_replaced_before_it_was_taken_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = leave(tmp_path, 1)
    lock_path = path.with_name(path.name + ".lock")
    lock = fcntl.flock

    def lock_late(descriptor: int, operation: int) -> None:
        lock_path.unlink()
        lock_path.touch()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    assert HeldFile.take(path) is None
    monkeypatch.undo()
    assert HeldFile.take(path) is not None


def test_a_lock_that_somebody_clears_away_at_birth_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = fcntl.flock

    def cleared_away(descriptor: int, operation: int) -> None:
        monkeypatch.undo()
        (lock_path,) = tmp_path.iterdir()
        lock_path.unlink()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", cleared_away)
    spool = spool_in(tmp_path)
    spool.append([batch(1)])
    assert len(names_in(tmp_path)) == 3
    assert numbers(spool) == [1]


def test_a_file_that_is_being_removed_is_nobody_elses_until_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who took it before would put entries into a file that is about to go.
    held = HeldFile.make(tmp_path)
    unlink = os.unlink
    taken = []

    def look_after(path: Path, *arguments: object) -> None:
        unlink(path)
        if held.path.exists():
            taken.append(HeldFile.take(held.path))

    held.path.with_name(held.path.name + "-wal").touch()
    monkeypatch.setattr(os, "unlink", look_after)
    held.remove()
    assert not any(taken)
    assert names_in(tmp_path) == []


def test_a_lock_that_a_person_removed_gives_the_file_to_nobody_else(tmp_path: Path) -> None:
    mine = spool_in(tmp_path)
    mine.append([batch(1)])
    only(tmp_path, "*.lock").unlink()
    assert SpoolFolder(tmp_path, ENOUGH).adopt() == []
    mine.append([batch(2)])
    assert numbers(mine) == [1, 2]


RACER = """
import sys
from pathlib import Path
from api.spool_folder import SpoolFolder
folder = SpoolFolder(Path(sys.argv[1]), 10**9)
for _ in sys.stdin:
    held = folder.adopt()
    print(sum(spool.state().cdrs for spool in held), flush=True)
    sys.stdin.readline()
    for spool in held:
        spool.delete([entry.entry_id for entry in spool.oldest(1000)])
        spool.close()
    print("closed", flush=True)
"""


def test_of_two_processes_one_gets_an_abandoned_file(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]

    def ask() -> list[str]:
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        return [racer.stdout.readline().strip() for racer in racers if racer.stdout is not None]

    try:
        for _ in range(20):
            for number in range(3):
                leave(tmp_path, number)
            assert sum(map(int, ask())) == 3
            assert ask() == ["closed", "closed"]
            assert names_in(tmp_path) == []
    finally:
        for racer in racers:
            racer.communicate()
