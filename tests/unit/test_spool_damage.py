"""A damaged file never stops the spool: what can be read of it goes on, and the file itself is kept aside."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from spooling import ENOUGH, batch, everything, numbers, only, spool_in
from spooling import every_file_is_closed as _every_file_is_closed  # noqa: F401 - used by every test
from structlog.testing import capture_logs

from api import spool as spool_module
from api.spool_entry import Row, pack
from api.spool_file import _DAMAGE, _DAMAGE_WHILE_READING, FileDamaged, SpoolFile
from api.spool_folder import SpoolFolder
from api.spool_lock import HeldFile
from api.spool_salvage import MAX_GAPS, salvaged
from common.errors import SpoolUnavailable

PAGE = 4096


def leave(folder: Path, count: int, size: int = 3000) -> Path:
    """Leave a file with `count` entries; at 3000 bytes each has a page of its own."""
    spool = spool_in(folder)
    spool.append([batch(number, size) for number in range(count)])
    spool.close()
    return only(folder, "*.spool")


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def break_page_of(path: Path, number: int) -> None:
    """Overwrite the page that holds a batch."""
    place = path.read_bytes().index(batch(number, 3000).entries)
    overwrite(path, place - place % PAGE, b"\xff" * PAGE)


def test_what_is_no_database_is_moved_aside_and_kept(tmp_path: Path) -> None:
    (tmp_path / "1700000000-1-a.spool").write_bytes(b"no database" * 1000)
    folder = SpoolFolder(tmp_path, ENOUGH)
    with capture_logs() as lines:
        spool = folder.open()
    spool.append([batch(1)])
    assert numbers(spool) == [1]
    (damaged,) = folder.damaged()
    assert damaged == tmp_path / "1700000000-1-a.spool.damaged"
    assert damaged.read_bytes() == b"no database" * 1000
    assert [(line["file"], line["log_level"]) for line in lines] == [("1700000000-1-a.spool", "error")]
    assert not (tmp_path / "1700000000-1-a.spool.lock").exists()


def test_what_was_moved_aside_is_not_looked_at_again(tmp_path: Path) -> None:
    (tmp_path / "1700000000-1-a.spool").write_bytes(b"no database" * 1000)
    spool_in(tmp_path).close()
    folder = SpoolFolder(tmp_path, ENOUGH)
    with capture_logs() as lines:
        folder.open()
        assert folder.adopt() == []
    assert lines == []
    assert len(folder.damaged()) == 1


def test_a_file_of_another_application_is_moved_aside(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "1700000000-1-a.spool") as connection:
        connection.execute("CREATE TABLE other (id INTEGER)")
    connection.close()
    folder = SpoolFolder(tmp_path, ENOUGH)
    assert numbers(folder.open()) == []
    assert len(folder.damaged()) == 1


def test_a_file_whose_table_is_gone_is_moved_aside(tmp_path: Path) -> None:
    path = leave(tmp_path, 1)
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE entries RENAME TO lost")
    connection.close()
    folder = SpoolFolder(tmp_path, ENOUGH)
    assert numbers(folder.open()) == []
    assert len(folder.damaged()) == 1


def test_a_file_whose_mark_is_gone_gives_all_its_entries(tmp_path: Path) -> None:
    overwrite(leave(tmp_path, 5), 68, b"gone")
    folder = SpoolFolder(tmp_path, ENOUGH)
    assert numbers(folder.open()) == [0, 1, 2, 3, 4]
    assert len(folder.damaged()) == 1


@pytest.mark.parametrize("broken", [{0}, {29}, {10}, {10, 11, 12}, {5, 20}, {0, 15, 29}])
def test_all_but_the_broken_pages_is_saved_in_order_and_under_its_ids(tmp_path: Path, broken: set[int]) -> None:
    path = leave(tmp_path, 30)
    for number in broken:
        break_page_of(path, number)
    spool = spool_in(tmp_path)
    entries = everything(spool)
    assert numbers(spool) == [number for number in range(30) if number not in broken]
    assert [entry.entry_id for entry in entries] == [number + 1 for number in range(30) if number not in broken]
    assert spool.state().entries == 30 - len(broken)


def test_an_entry_of_which_a_byte_changed_is_not_taken_for_what_was_written(tmp_path: Path) -> None:
    path = leave(tmp_path, 5)
    place = path.read_bytes().index(batch(3, 3000).entries) + 100
    overwrite(path, place, bytes([path.read_bytes()[place] ^ 1]))
    folder = SpoolFolder(tmp_path, ENOUGH)
    spool = folder.open()
    assert numbers(spool) == [0, 1, 2, 4]
    assert len(folder.damaged()) == 1


def test_what_a_failed_append_left_in_its_transaction_is_not_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = spool_in(tmp_path)
    spool.append([batch(1)])

    def break_off(self: SpoolFile, batches: Any, spooled_at: float) -> None:
        monkeypatch.undo()
        with self._transaction() as connection:
            connection.execute("UPDATE entries SET id = 77")
            raise FileDamaged("found while writing")

    monkeypatch.setattr(SpoolFile, "insert", break_off)
    spool.append([batch(2)])
    assert [entry.entry_id for entry in everything(spool)] == [1, 2]


def test_a_file_whose_first_page_reads_as_new_is_not_taken_for_one(tmp_path: Path) -> None:
    path = leave(tmp_path, 5)
    fresh = tmp_path / "fresh"
    with sqlite3.connect(fresh) as connection:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("CREATE TABLE a (b)")
        connection.execute("DROP TABLE a")
    connection.close()
    content = bytearray(fresh.read_bytes()[:PAGE])
    # The number of pages, and what says that it is in use.
    content[28:32] = (path.stat().st_size // PAGE).to_bytes(4, "big")
    content[92:96] = content[24:28]
    overwrite(path, 0, bytes(content))
    folder = SpoolFolder(tmp_path, ENOUGH)
    folder.open()
    assert len(folder.damaged()) == 1


def test_a_file_damaged_in_use_is_replaced_and_the_spool_goes_on(tmp_path: Path) -> None:
    folder = SpoolFolder(tmp_path, ENOUGH)
    spool = folder.open()
    # More than SQLite keeps in memory.
    for start in range(0, 2000, 100):
        spool.append([batch(number, 3000) for number in range(start, start + 100)])
    spool._file._checkpoint()
    break_page_of(only(tmp_path, "*.spool"), 100)
    ids = [entry.entry_id for entry in everything(spool)]
    assert ids == [number for number in range(1, 2001) if number != 101]
    spool.append([batch(5000)])
    spool.delete(ids)
    assert numbers(spool) == [5000]
    assert spool.state().entries == 1
    assert len(folder.damaged()) == 1
    assert folder.adopt() == []


def test_a_new_entry_never_gets_the_id_of_one_that_was_lost(tmp_path: Path) -> None:
    path = leave(tmp_path, 3)
    spool = spool_in(tmp_path)
    overwrite(path, 68, b"gone")
    break_page_of(path, 2)
    spool._file.close()
    spool.append([batch(9)])
    assert [entry.entry_id for entry in everything(spool)] == [1, 2, 4]


def test_a_file_is_set_aside_with_all_that_belongs_to_it(tmp_path: Path) -> None:
    held = HeldFile.make(tmp_path)
    for suffix in ("-wal", "-journal"):
        held.path.with_name(held.path.name + suffix).touch()
    held.set_aside()
    names = {path.name.removeprefix(held.path.name) for path in tmp_path.iterdir()}
    assert names == {".damaged", ".damaged-wal", ".damaged-journal"}
    assert SpoolFolder(tmp_path, ENOUGH).damaged() == [tmp_path / f"{held.path.name}.damaged"]


def test_a_damaged_file_that_cannot_be_moved_aside_is_not_copied_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("why")

    overwrite(leave(tmp_path, 3), 68, b"gone")
    monkeypatch.setattr(os, "rename", refuse)
    folder = SpoolFolder(tmp_path, ENOUGH)
    spool = folder.open()
    spool.append([batch(9)])
    assert folder.adopt() == []
    assert numbers(spool) == [0, 1, 2, 9]


def test_a_copy_that_breaks_off_leaves_no_attempts_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(_: object) -> list[Row]:
        raise SpoolUnavailable("no room")

    overwrite(leave(tmp_path, 3), 68, b"gone")
    folder = SpoolFolder(tmp_path, ENOUGH)
    monkeypatch.setattr(spool_module, "salvaged", no_room)
    mine = folder.open()
    assert [numbers(spool) for spool in folder.adopt()] == [[0, 1, 2]]
    mine.append([batch(9)])
    assert len(list(tmp_path.glob("*.spool"))) == 2
    assert folder.damaged() == []


@pytest.mark.parametrize("length", [0, 1, 100, PAGE, 10 * PAGE, 10 * PAGE + 7])
def test_a_file_that_lost_its_end_stops_nothing(tmp_path: Path, length: int) -> None:
    path = leave(tmp_path, 30)
    with path.open("r+b") as file:
        file.truncate(length)
    spool = spool_in(tmp_path)
    spool.append([batch(99)])
    assert numbers(spool)[-1] == 99


def test_an_error_that_quotes_what_is_no_text_is_damage_like_any_other(tmp_path: Path) -> None:
    path = leave(tmp_path, 3)
    place = path.read_bytes().index(b"tableentriesentries")
    overwrite(path, place + len(b"table"), b"\xd8 <- ")
    overwrite(path, path.read_bytes().index(b"CREATE TABLE"), b"no SQL")
    folder = SpoolFolder(tmp_path, ENOUGH)
    folder.open()
    assert len(folder.damaged()) == 1


@pytest.mark.parametrize(
    ("code", "reading", "damaged"),
    [
        (sqlite3.SQLITE_CORRUPT, False, True),
        (sqlite3.SQLITE_CORRUPT_INDEX, False, True),
        (sqlite3.SQLITE_NOTADB, False, True),
        (sqlite3.SQLITE_IOERR_READ, True, True),
        (sqlite3.SQLITE_IOERR_READ, False, False),
        (sqlite3.SQLITE_IOERR_WRITE, True, False),
        (sqlite3.SQLITE_FULL, True, False),
        (sqlite3.SQLITE_BUSY, True, False),
        (sqlite3.SQLITE_ERROR, False, False),
    ],
)
def test_what_a_disk_may_do_again_is_no_damage(tmp_path: Path, code: int, reading: bool, damaged: bool) -> None:
    # A disk that fails to read a sector cannot be had here; its error can.
    error = sqlite3.OperationalError("why")
    error.sqlite_errorcode = code
    file = SpoolFile(tmp_path / "a.spool")
    with pytest.raises(SpoolUnavailable) as raised, file._translated(_DAMAGE_WHILE_READING if reading else _DAMAGE):
        raise error
    assert isinstance(raised.value, FileDamaged) is damaged


def rows_of(folder: Path, count: int, first_id: int) -> Callable[[int, int, bool], Row | None]:
    """Return what reads a file whose ids begin late, as after many entries came and went."""
    held = HeldFile.make(folder)
    file = SpoolFile(held.path, first_id - 1)
    file.open()
    file.insert([pack(batch(number, 3000)) for number in range(count)], 0.0)
    file.close()
    break_page_of(held.path, 0)
    with contextlib.suppress(FileDamaged):
        file.open()
    return file.row_between


def test_a_file_that_began_long_ago_is_saved_when_its_front_is_broken(tmp_path: Path) -> None:
    row_between = rows_of(tmp_path, 20, first_id=50_000_000)
    assert sorted(row[0] for row in salvaged(row_between)) == list(range(50_000_001, 50_000_020))


def test_how_long_a_broken_file_is_searched_is_bounded(tmp_path: Path) -> None:
    row_between = rows_of(tmp_path, 20, first_id=50_000_000)
    asked = []

    def counting(after: int, before: int, backwards: bool) -> Row | None:
        asked.append(after)
        return row_between(after, before, backwards)

    list(salvaged(counting))
    assert len(asked) < 2.1 * MAX_GAPS


@given(broken=st.sets(st.integers(1, 60)), missing=st.sets(st.integers(1, 60)), width=st.integers(1, 5))
def test_wherever_leaves_are_broken_in_a_file_whose_end_is_whole_every_other_entry_is_saved(
    broken: set[int], missing: set[int], width: int
) -> None:
    """Entries stand in leaves of `width`; a seek that ends in a broken leaf fails, as SQLite's does."""
    there = [each for each in range(1, 60) if each not in missing] + [60]
    leaves = {each: (place // width) for place, each in enumerate(there)}
    bad = {leaves[each] for each in broken if each in leaves} - {leaves[60]}

    def row_between(after: int, before: int, backwards: bool) -> Row | None:
        at = [each for each in there if each < before] if backwards else [each for each in there if each > after]
        if not at:
            return None
        found = at[-1] if backwards else at[0]
        if leaves[found] in bad:
            raise FileDamaged("broken")
        return (found, 0.0, b"", 1, 1, 0, 0, b"") if after < found < before else None

    saved = [row[0] for row in salvaged(row_between)]
    assert sorted(saved) == [each for each in there if leaves[each] not in bad]


@settings(max_examples=60)
@given(
    places=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 6000)), min_size=1, max_size=4),
    seed=st.integers(0, 2**32),
    zeros=st.booleans(),
)
@example(places=[(0.0, 100)], seed=1, zeros=True)
def test_whatever_is_overwritten_the_spool_opens_with_nothing_that_was_never_in_it(
    places: list[tuple[float, int]], seed: int, zeros: bool
) -> None:
    source = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = leave(folder, 40, 1500)
        size = path.stat().st_size
        for place, length in places:
            overwrite(path, int(place * (size - 1)), bytes(length) if zeros else source.randbytes(length))
        spool = spool_in(folder)
        found = everything(spool)
        whole = {batch(number, 1500) for number in range(40)}
        assert {entry.batch for entry in found} <= whole
        assert [entry.entry_id for entry in found] == sorted({entry.entry_id for entry in found})
        assert spool.state().entries == len(found)
        spool.append([batch(99)])
        spool.delete([entry.entry_id for entry in found])
        assert numbers(spool) == [99]
        spool.delete([entry.entry_id for entry in everything(spool)])
        spool.close()
        assert not list(folder.glob("*.spool"))
