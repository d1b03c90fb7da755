"""A spool keeps batches on disk in their order, refuses what has no room, and works again after every failure."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import threading
import time
from pathlib import Path

import pytest
from spooling import ENOUGH, batch, everything, number_of, numbers, only, spool_in
from spooling import every_file_is_closed as _every_file_is_closed  # noqa: F401 - used by every test

from api import spool as spool_module
from api import spool_file
from api.spool import Batch, SpoolTotals
from api.spool_entry import pack
from api.spool_folder import SpoolFolder
from common.errors import SpoolUnavailable
from common.job_queue import KEEP_BODIES, LOAD_CDRS


def size_of(path: Path) -> int:
    return sum(each.stat().st_size for each in path.iterdir())


def test_what_went_in_comes_out_whole_and_in_its_order(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    first, second, third = (
        Batch(LOAD_CDRS, 1, b'[{"a":1}]', 1),
        Batch(KEEP_BODIES, 7, b"[]", 0),
        Batch(LOAD_CDRS, 1, b"[" + b" " * 5000 + b"1,2]", 2),
    )
    before = time.time()
    spool.append([first, second])
    spool.append([third])
    entries = everything(spool)
    assert [entry.batch for entry in entries] == [first, second, third]
    assert all(before <= entry.spooled_at <= time.time() for entry in entries)


def test_an_append_of_nothing_changes_nothing(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.append([])
    assert spool.state() == SpoolTotals()


def test_a_batch_that_shrinks_is_stored_compressed_and_any_other_as_it_is(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.append([Batch(LOAD_CDRS, 1, b"[" + b"1," * 5000 + b"1]", 5001)])
    compressed = spool.state().bytes
    assert compressed < 500
    spool.append([Batch(LOAD_CDRS, 1, os.urandom(3000), 1)])
    assert spool.state().bytes == compressed + 3000


def test_the_oldest_end_with_the_entry_that_reaches_the_count(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.append([batch(number, count=10) for number in range(5)])
    assert [number_of(entry) for entry in spool.oldest(20)] == [0, 1]
    assert [number_of(entry) for entry in spool.oldest(21)] == [0, 1, 2]


def test_there_is_at_least_one_oldest_entry_if_there_is_any(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    assert spool.oldest(100) == []
    spool.append([batch(1, count=500), batch(2)])
    assert [number_of(entry) for entry in spool.oldest(0)] == [1]


def test_the_oldest_behind_an_id_are_those_that_follow_it(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.append([batch(number) for number in range(4)])
    second = everything(spool)[1]
    assert [number_of(entry) for entry in spool.oldest(ENOUGH, second.entry_id)] == [2, 3]


def test_a_read_takes_no_more_into_memory_than_its_bound_and_an_entry(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.append([batch(number, 3_000_000) for number in range(5)])
    assert [number_of(entry) for entry in spool.oldest(ENOUGH)] == [0, 1, 2]


def test_what_is_deleted_is_gone_and_the_rest_is_not(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.append([batch(number) for number in range(4)])
    spool.delete([entry.entry_id for entry in everything(spool)[:2]])
    assert numbers(spool) == [2, 3]


def test_deleting_again_what_is_gone_changes_nothing(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.append([batch(1), batch(2)])
    first = everything(spool)[0].entry_id
    spool.delete([first, first])
    spool.delete([first, 999])
    assert numbers(spool) == [2]
    assert spool.state().entries == 1


def test_an_id_is_never_given_twice_so_that_a_late_delete_hits_nothing_else(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.append([batch(1)])
    (entry,) = everything(spool)
    spool.delete([entry.entry_id])
    fail_next_write(spool)
    spool.append([batch(2)])
    spool.delete([entry.entry_id])
    assert numbers(spool) == [2]
    assert spool.oldest(1, after=entry.entry_id) != []


def fail_next_write(spool: spool_module.Spool) -> None:
    """Let an append fail as on a full disk, after which the spool opens its file anew."""
    refuse_growth(spool)
    with pytest.raises(SpoolUnavailable):
        spool.append([batch(0, 100_000)])


def refuse_growth(spool: spool_module.Spool) -> None:
    spool._file._db.execute("PRAGMA max_page_count = 10").fetchone()


def test_the_state_tells_what_is_in_the_spool(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    batches = [batch(number, 300, count=number) for number in range(1, 4)]
    spool.append(batches[:2])
    spool.append(batches[2:])
    first, second, _ = everything(spool)
    sizes = [len(pack(each).content) for each in batches]
    assert spool.state() == SpoolTotals(3, 6, sum(sizes), first.spooled_at)
    spool.delete([first.entry_id])
    assert spool.state() == SpoolTotals(2, 5, sum(sizes[1:]), second.spooled_at)


def test_the_state_is_the_same_after_the_file_is_opened_again(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.append([batch(number, 300, count=number) for number in range(1, 4)])
    spool.delete([everything(spool)[0].entry_id])
    before = spool.state()
    spool.close()
    assert spool_in(tmp_path).state() == before


def test_the_state_of_a_spool_that_ran_empty_has_no_oldest(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.append([batch(1)])
    spool.delete([1])
    assert spool.state() == SpoolTotals()


def test_an_empty_spool_leaves_nothing_behind(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.append([batch(1)])
    spool.delete([1])
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_a_spool_with_entries_keeps_its_file(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.append([batch(1)])
    spool.close()
    assert numbers(spool_in(tmp_path)) == [1]


def test_a_spool_that_was_closed_refuses_and_may_be_closed_again(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.close()
    spool.close()
    with pytest.raises(SpoolUnavailable):
        spool.append([batch(1)])
    assert list(tmp_path.iterdir()) == []


def test_a_spool_may_be_used_from_another_thread_than_it_was_opened_in(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    thread = threading.Thread(target=spool.append, args=([batch(1)],))
    thread.start()
    thread.join()
    assert numbers(spool) == [1]


def test_only_the_owner_may_look_at_cdrs(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "spool"
    before = os.umask(0)
    try:
        spool = spool_in(folder)
        spool.append([batch(1)])
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert len(list(folder.iterdir())) == 3


def test_every_commit_waits_for_the_disk_and_nobody_else_opens_the_file(tmp_path: Path) -> None:
    # What reaches the disk when the power goes cannot be seen from here; the settings that SQLite was given can.
    spool = spool_in(tmp_path)
    settings = ("synchronous", "fullfsync", "checkpoint_fullfsync", "locking_mode", "journal_mode", "auto_vacuum")
    values = [spool._file._value(f"PRAGMA {setting}") for setting in settings]
    assert values == [2, 1, 1, b"exclusive", b"wal", 2]
    assert not list(tmp_path.glob("*-shm"))


def test_an_append_over_the_bound_is_refused_before_it_is_written(tmp_path: Path) -> None:
    spool = spool_in(tmp_path, max_bytes=10_000)
    spool.append([batch(1, 6000)])
    taken = size_of(tmp_path)
    with pytest.raises(SpoolUnavailable):
        spool.append([batch(2, 100), batch(3, 30_000)])
    assert size_of(tmp_path) == taken
    spool.append([batch(4, 100)])
    assert numbers(spool) == [1, 4]


def test_what_is_deleted_makes_room_under_the_bound(tmp_path: Path) -> None:
    spool = spool_in(tmp_path, max_bytes=10_000)
    for number in range(20):
        spool.append([batch(number, 9000)])
        spool.delete([everything(spool)[0].entry_id])
    assert spool.state() == SpoolTotals()


def test_the_files_of_others_count_in_the_bound(tmp_path: Path) -> None:
    folder = SpoolFolder(tmp_path, 200_000)
    mine, other = folder.open(), folder.open()
    other.append([batch(1, 150_000)])
    with pytest.raises(SpoolUnavailable):
        mine.append([batch(2, 40_000)])
    other.delete([1])
    other.close()
    mine.append([batch(2, 40_000)])
    assert numbers(mine) == [2]


def test_a_damaged_file_counts_in_nothing(tmp_path: Path) -> None:
    (tmp_path / "1-1-a.spool.damaged").write_bytes(bytes(100_000))
    spool = spool_in(tmp_path, max_bytes=50_000)
    spool.append([batch(1)])
    assert numbers(spool) == [1]


def test_a_disk_with_little_room_left_is_not_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = spool_in(tmp_path)
    # The whole disk is the reserve, of which some part is always taken.
    monkeypatch.setattr(spool_module, "RESERVE_BYTES", 2**62)
    monkeypatch.setattr(spool_module, "RESERVE_SHARE", 1)
    with pytest.raises(SpoolUnavailable, match="are free"):
        spool.append([batch(1)])
    assert numbers(spool) == []
    monkeypatch.undo()
    spool.append([batch(2)])
    assert numbers(spool) == [2]


def test_the_reserve_is_the_smaller_of_a_share_and_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = spool_in(tmp_path)
    monkeypatch.setattr(spool_module, "RESERVE_SHARE", 1)
    spool.append([batch(1)])
    monkeypatch.undo()
    monkeypatch.setattr(spool_module, "RESERVE_BYTES", 2**62)
    monkeypatch.setattr(spool_module, "RESERVE_SHARE", 10**9)
    spool.append([batch(2)])
    assert numbers(spool) == [1, 2]


def test_an_append_that_fails_leaves_nothing_of_it_and_the_next_one_works(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.append([batch(1)])
    refuse_growth(spool)
    with pytest.raises(SpoolUnavailable):
        spool.append([batch(2), batch(3, 200_000)])
    spool.append([batch(4, 200_000)])
    assert numbers(spool) == [1, 4]
    assert spool.state().entries == 2


def test_an_append_that_breaks_off_inside_leaves_no_half_done_transaction(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    with pytest.raises(OverflowError):
        spool.append([batch(1), Batch(LOAD_CDRS, 2**70, b"[1]", 1)])
    spool.append([batch(2)])
    assert numbers(spool) == [2]


def test_a_file_that_another_connection_locks_is_used_again_when_it_is_free(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.append([batch(1)])
    spool._file.close()
    other = sqlite3.connect(only(tmp_path, "*.spool"), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(SpoolUnavailable):
        spool.append([batch(2)])
    other.close()
    spool.append([batch(3)])
    assert numbers(spool) == [1, 3]
    assert not list(tmp_path.glob("*.damaged"))


def test_a_file_removed_in_use_is_replaced_with_all_that_was_in_it(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.append([batch(1, 9000), batch(2)])
    ids = [entry.entry_id for entry in everything(spool)]
    only(tmp_path, "*.spool").unlink()
    spool.append([batch(3)])
    assert [entry.entry_id for entry in everything(spool)][:2] == ids
    spool.close()
    # What was left of the removed one is cleared away on the way.
    (spool,) = SpoolFolder(tmp_path, ENOUGH).adopt()
    assert numbers(spool) == [1, 2, 3]
    spool.delete([entry.entry_id for entry in everything(spool)])
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_somebody_put_in_its_place_is_neither_used_nor_removed(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.append([batch(1)])
    path = only(tmp_path, "*.spool")
    path.unlink()
    path.write_bytes(b"somebody's")
    assert numbers(spool) == [1]
    assert path.read_bytes() == b"somebody's"


def test_a_folder_removed_in_use_is_made_again_with_all_that_was_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    spool = spool_in(folder)
    spool.append([batch(1)])
    shutil.rmtree(folder)
    assert numbers(spool) == [1]
    spool.close()
    assert numbers(spool_in(folder)) == [1]


def test_a_folder_that_cannot_be_made_again_loses_nothing_while_the_process_lives(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    spool = spool_in(folder)
    spool.append([batch(1)])
    shutil.rmtree(folder)
    folder.write_text("in the way")
    for _ in range(2):
        with pytest.raises(SpoolUnavailable):
            spool.append([batch(2)])
    folder.unlink()
    spool.append([batch(3)])
    assert numbers(spool) == [1, 3]


def test_a_file_removed_while_an_append_is_under_way_is_not_acknowledged_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = spool_in(tmp_path)
    insert = spool_file.SpoolFile.insert

    def remove_after(self: spool_file.SpoolFile, *arguments: object) -> None:
        insert(self, *arguments)  # type: ignore[arg-type]
        self.path.unlink()

    monkeypatch.setattr(spool_file.SpoolFile, "insert", remove_after)
    spool.append([batch(1)])
    # As if the process were killed now.
    left = shutil.copytree(spool._held.path.parent, tmp_path / "left")
    assert numbers(spool_in(left)) == [1]


def test_nothing_is_appended_behind_a_wal_of_which_the_disk_may_have_lost_a_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(_: spool_file.SpoolFile) -> None:
        raise SpoolUnavailable("no room")

    spool = spool_in(tmp_path)
    spool.append([batch(1), batch(2)])
    fail_next_write(spool)
    monkeypatch.setattr(spool_file.SpoolFile, "_checkpoint", no_room)
    with pytest.raises(SpoolUnavailable):
        spool.append([batch(3)])
    spool.delete([1])
    assert numbers(spool) == [2]
    monkeypatch.undo()
    spool.append([batch(4)])
    assert numbers(spool) == [2, 4]


def test_the_names_of_new_folders_and_files_are_on_disk_before_anything_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_ino, len(list(tmp_path.rglob("*.spool")))))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    folder = tmp_path / "a" / "b"
    spool_in(folder)
    assert synced == [(tmp_path.stat().st_ino, 0), (folder.parent.stat().st_ino, 0), (folder.stat().st_ino, 1)]


def test_the_files_shrink_when_the_spool_runs_empty(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    for number in range(10):
        spool.append([batch(number, 1_000_000)])
    assert size_of(tmp_path) > 8_000_000
    spool.delete([entry.entry_id for entry in everything(spool)])
    assert size_of(tmp_path) < 50_000
    spool.append([batch(11)])
    assert numbers(spool) == [11]


def test_the_file_shrinks_in_steps_while_it_drains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_file, "VACUUM_PAGES", 50)
    spool = spool_in(tmp_path)
    for number in range(300):
        spool.append([batch(number, 12_000)])
    spool._file._checkpoint()
    full = only(tmp_path, "*.spool").stat().st_size
    while len(numbers(spool)) > 20:
        spool.delete([entry.entry_id for entry in spool.oldest(10)])
    spool._file._checkpoint()
    assert only(tmp_path, "*.spool").stat().st_size < full / 2
    assert numbers(spool) == list(range(280, 300))


def test_a_disk_without_room_for_tidying_costs_no_delete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(_: spool_file.SpoolFile) -> None:
        raise SpoolUnavailable("no room")

    spool = spool_in(tmp_path)
    spool.append([batch(1), batch(2)])
    monkeypatch.setattr(spool_file.SpoolFile, "give_back", no_room)
    spool.delete([1])
    assert numbers(spool) == [2]


def test_the_wal_does_not_stay_large(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.append([batch(1, 12_000_000)])
    for number in range(2, 4):
        spool.append([batch(number)])
    assert only(tmp_path, "*-wal").stat().st_size <= spool_file.WAL_BYTES
