"""A damaged file that there is no room to copy: what is whole is drained from where it is, and nothing is lost on the way."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spooling import ENOUGH, batch, number_of, numbers, only, spool_in
from spooling import every_file_is_closed as _every_file_is_closed  # noqa: F401 - used by every test
from structlog.testing import capture_logs

from api.spool import NotReplaced, Spool
from api.spool_folder import SpoolFolder
from api.spool_thread import SpoolThread
from common.errors import SpoolUnavailable
from common.job_queue import CDRS, LOAD_CDRS, NewJob
from common.settings import SpoolSettings

PAGE = 4096
# Each batch has a page of its own.
SIZE = 3000


@contextmanager
def nearly_full_disk(free: int = 0) -> Iterator[None]:
    """Have the disk tell that so many bytes are free beyond what is reserved; each small write still has its room."""
    statvfs = os.statvfs

    def told(path: Any) -> os.statvfs_result:
        values = list(statvfs(path))
        # Of 100 blocks a twentieth is reserved.
        values[0:5] = [PAGE, PAGE, 100, 5 + free // PAGE, 5 + free // PAGE]
        return os.statvfs_result(values)

    with patch.object(os, "statvfs", told):
        yield


@pytest.fixture
def _nearly_full() -> Iterator[None]:
    with nearly_full_disk():
        yield


def leave(folder: Path, count: int) -> Path:
    with nearly_full_disk(free=ENOUGH):
        spool = spool_in(folder)
        spool.append([batch(number, SIZE) for number in range(count)])
        spool.close()
    return only(folder, "*.spool")


def change_a_byte_of(path: Path, number: int) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(batch(number, SIZE).entries) + 100] ^= 1
    path.write_bytes(content)


def break_page_of(path: Path, number: int) -> None:
    content = bytearray(path.read_bytes())
    place = content.index(batch(number, SIZE).entries) // PAGE * PAGE
    content[place : place + PAGE] = b"\xff" * PAGE
    path.write_bytes(content)


def drained(spool: Spool, cdrs: int = 3) -> list[int]:
    """Drain a spool as a receiver does, and return the numbers in the order in which they came."""
    found: list[int] = []
    while entries := spool.oldest(cdrs):
        found += map(number_of, entries)
        spool.delete([entry.entry_id for entry in entries])
    return found


@pytest.mark.usefixtures("_nearly_full")
@pytest.mark.parametrize("breaking", [change_a_byte_of, break_page_of])
@pytest.mark.parametrize("broken", [0, 7, 11])
def test_without_room_for_a_copy_all_but_the_damaged_entry_is_drained_in_order(
    tmp_path: Path, breaking: Any, broken: int
) -> None:
    breaking(leave(tmp_path, 12), broken)
    folder = SpoolFolder(tmp_path, ENOUGH)
    assert [number for spool in [folder.open(), *folder.adopt()] for number in drained(spool)] == [
        number for number in range(12) if number != broken
    ]
    assert folder.damaged() == []


@pytest.mark.usefixtures("_nearly_full")
def test_until_it_is_drained_a_file_that_cannot_be_copied_is_not_written_to(tmp_path: Path) -> None:
    path = leave(tmp_path, 12)
    change_a_byte_of(path, 0)
    before = path.read_bytes()
    spool = spool_in(tmp_path)
    entries = spool.oldest(ENOUGH)
    spool.delete([entry.entry_id for entry in entries[:-1]])
    with nearly_full_disk(free=ENOUGH), pytest.raises(NotReplaced):
        spool.append([batch(99)])
    spool.close()
    assert path.read_bytes() == before
    assert only(tmp_path, "*.spool") == path


@pytest.mark.usefixtures("_nearly_full")
def test_once_it_is_drained_the_file_is_moved_aside_with_what_is_damaged_and_without_the_rest(tmp_path: Path) -> None:
    path = leave(tmp_path, 300)
    change_a_byte_of(path, 0)
    size = path.stat().st_size
    folder = SpoolFolder(tmp_path, ENOUGH)
    spool = folder.open()
    drained(spool, 100)
    spool.close()
    (aside,) = folder.damaged()
    assert {each.name for each in tmp_path.iterdir()} == {aside.name}
    assert aside.stat().st_size < size / 20
    connection = sqlite3.connect(aside)
    assert connection.execute("SELECT id, length(content) FROM entries").fetchall() == [
        (1, len(batch(0, SIZE).entries))
    ]
    connection.close()


@pytest.mark.usefixtures("_nearly_full")
def test_a_file_too_damaged_to_be_cut_down_is_moved_aside_whole(tmp_path: Path) -> None:
    path = leave(tmp_path, 5)
    content = bytearray(path.read_bytes())
    content[68:72] = b"gone"
    path.write_bytes(content)
    folder = SpoolFolder(tmp_path, ENOUGH)
    mine = folder.open()
    assert numbers(mine) == []
    (spool,) = folder.adopt()
    assert drained(spool) == [0, 1, 2, 3, 4]
    spool.close()
    assert [each.read_bytes() for each in folder.damaged()] == [bytes(content)]


@pytest.mark.usefixtures("_nearly_full")
def test_a_file_of_which_nothing_can_be_read_is_moved_aside_without_any_room(tmp_path: Path) -> None:
    (tmp_path / "1700000000-1-a.spool").write_bytes(b"no database" * 1000)
    folder = SpoolFolder(tmp_path, ENOUGH)
    folder.open()
    assert [each.read_bytes() for each in folder.damaged()] == [b"no database" * 1000]


@pytest.mark.usefixtures("_nearly_full")
def test_a_file_that_is_not_drained_yet_stays_for_the_next_receiver(tmp_path: Path) -> None:
    path = leave(tmp_path, 6)
    change_a_byte_of(path, 0)
    spool = spool_in(tmp_path)
    spool.delete([entry.entry_id for entry in spool.oldest(2)])
    spool.close()
    assert drained(spool_in(tmp_path)) == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("_nearly_full")
def test_what_cannot_be_deleted_for_damage_and_want_of_room_counts_as_deleted(tmp_path: Path) -> None:
    path = leave(tmp_path, 6)
    spool = spool_in(tmp_path)
    entries = spool.oldest(4)
    # What SQLite keeps of the file in memory goes with its connection.
    spool._file.close()
    content = bytearray(path.read_bytes())
    content[68:72] = b"gone"
    path.write_bytes(content)
    spool.delete([entry.entry_id for entry in entries])
    assert numbers(spool) == [4, 5]


@pytest.mark.usefixtures("_nearly_full")
def test_an_entry_that_breaks_while_the_rest_is_drained_holds_up_nothing(tmp_path: Path) -> None:
    path = leave(tmp_path, 300)
    change_a_byte_of(path, 0)
    spool = spool_in(tmp_path)
    assert [number_of(entry) for entry in spool.oldest(1)] == [1]
    change_a_byte_of(path, 200)
    spool._file.close()
    spool._file.open()
    assert drained(spool, 50) == [*range(1, 200), *range(201, 300)]
    assert spool.state().entries == 0


@pytest.mark.usefixtures("_nearly_full")
def test_the_state_of_a_damaged_file_tells_what_can_still_be_drained(tmp_path: Path) -> None:
    change_a_byte_of(leave(tmp_path, 4), 0)
    spool = spool_in(tmp_path)
    entries = spool.oldest(1)
    state = spool.state()
    assert (state.entries, state.cdrs, state.oldest) == (3, 3, entries[0].spooled_at)
    assert state.bytes == sum(len(batch(number, SIZE).entries) for number in (1, 2, 3))
    spool.delete([entry.entry_id for entry in entries])
    assert spool.state().entries == 2


def test_with_room_for_a_copy_beyond_what_is_reserved_it_is_made(tmp_path: Path) -> None:
    path = leave(tmp_path, 4)
    change_a_byte_of(path, 0)
    size = path.stat().st_size
    spool = spool_in(tmp_path)
    with nearly_full_disk(free=size + PAGE), capture_logs() as lines:
        assert numbers(spool) == [1, 2, 3]
    assert [line["event"] for line in lines] == ["a spool's file was replaced"]


def test_without_room_for_a_copy_beyond_what_is_reserved_none_is_begun(tmp_path: Path) -> None:
    path = leave(tmp_path, 4)
    change_a_byte_of(path, 0)
    spool = spool_in(tmp_path)
    with nearly_full_disk(free=path.stat().st_size - PAGE), capture_logs() as lines:
        assert numbers(spool) == [1, 2, 3]
    assert [(line["event"], line["entries_readable"]) for line in lines] == [
        ("a damaged spool is drained from where it is", 3)
    ]
    assert only(tmp_path, "*.spool") == path
    assert str(spool.damage).startswith(f"entry 1 of {path.name} is not what was written")


@pytest.mark.usefixtures("_nearly_full")
def test_a_damaged_spool_that_was_closed_gives_nothing(tmp_path: Path) -> None:
    change_a_byte_of(leave(tmp_path, 3), 0)
    spool = spool_in(tmp_path)
    spool.oldest(1)
    spool.close()
    with pytest.raises(SpoolUnavailable):
        spool.oldest(1)


def names_in(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def spool_thread(folder: Path) -> SpoolThread:
    return SpoolThread(SpoolSettings(spool_dir=folder), lambda _: None)


def job(name: str) -> NewJob:
    return NewJob(CDRS, LOAD_CDRS, ([name],), name)


async def drained_by(thread: SpoolThread) -> list[str]:
    names: list[str] = []
    while waiting := await thread.oldest(1):
        names += [bytes(each).decode() for job in waiting.jobs for each in job.arguments[0]]
        await thread.delete(waiting)
    return names


async def append_each(thread: SpoolThread, *names: str) -> None:
    for name in names:
        await thread.append([job(name)])


def test_a_receiver_spools_into_another_file_while_its_damaged_one_is_drained(tmp_path: Path) -> None:
    async def play() -> None:
        thread = spool_thread(tmp_path)
        await append_each(thread, "a", "b", "c")
        await thread.close()
        path = only(tmp_path, "*.spool")
        connection = sqlite3.connect(path)
        connection.execute("UPDATE entries SET checksum = checksum + 1 WHERE id = 1")
        connection.commit()
        connection.close()
        thread = spool_thread(tmp_path)
        await thread.open()
        with nearly_full_disk(free=2 * PAGE):
            waiting = await thread.oldest(1)
            assert waiting is not None
            assert [each[: len(f"entry 1 of {path.name}")] for each in thread.state().damaged] == [
                f"entry 1 of {path.name}"
            ]
            await append_each(thread, "d")
            await thread.delete(waiting)
            assert thread.state().problem is None
            assert await drained_by(thread) == ['"c"', '"d"']
        assert thread.state().damaged == []
        assert [name for name in names_in(tmp_path) if "damaged" in name] == [f"{path.name}.damaged"]
        await thread.close()

    asyncio.run(play())


def test_a_file_found_damaged_by_an_append_costs_the_append_nothing(tmp_path: Path) -> None:
    async def play() -> None:
        thread = spool_thread(tmp_path)
        await append_each(thread, "a", "b")
        path = only(tmp_path, "*.spool")
        assert thread._own is not None
        thread._own._file.close()
        content = bytearray(path.read_bytes())
        content[68:72] = b"gone"
        path.write_bytes(content)
        with nearly_full_disk(free=PAGE):
            await append_each(thread, "c")
            assert await drained_by(thread) == ['"a"', '"b"', '"c"']
        await thread.close()
        assert names_in(tmp_path) == [f"{path.name}.damaged"]

    asyncio.run(play())


@settings(max_examples=25, deadline=None)
@given(
    changed=st.sets(st.integers(0, 29), max_size=4),
    pages=st.sets(st.integers(0, 29), max_size=2),
    deaths=st.lists(st.integers(0, 12), max_size=3),
    steps=st.integers(1, 9),
)
def test_wherever_receivers_die_what_is_whole_is_drained_in_order_and_what_is_not_is_kept(
    changed: set[int], pages: set[int], deaths: list[int], steps: int
) -> None:
    """Each receiver drains some steps and dies; the last one comes to the end. A second delivery counts as none."""
    with tempfile.TemporaryDirectory() as name, nearly_full_disk():
        folder = Path(name)
        path = leave(folder, 30)
        for number in changed:
            change_a_byte_of(path, number)
        for number in pages - changed:
            break_page_of(path, number)
        delivered: set[int] = set()
        for death in [*deaths, None]:
            delivered |= set(drain_until(folder, death, steps))
        assert delivered == set(range(30)) - changed - pages
        left = [path.name for path in folder.iterdir() if ".damaged" not in path.name]
        assert left == []
        assert len(SpoolFolder(folder, ENOUGH).damaged()) == bool(changed | pages)


def drain_until(folder: Path, death: int | None, cdrs: int) -> list[int]:
    """Drain all spools of a folder in order, for so many steps, and end like a process: closed, or with files as they are."""
    shared = SpoolFolder(folder, ENOUGH)
    spools = [shared.open(), *shared.adopt()]
    delivered: list[int] = []
    for spool in spools:
        while (entries := spool.oldest(cdrs)) and (death is None or death > 0):
            found = [number_of(entry) for entry in entries]
            assert found == sorted(found)
            assert not delivered or delivered[-1] < found[0]
            delivered += found
            death = None if death is None else death - 1
            if death != 0:
                spool.delete([entry.entry_id for entry in entries])
    parts = {} if death is None else {each: each.read_bytes() for each in folder.iterdir()}
    for spool in spools:
        spool.close()
    if parts:
        for each in folder.iterdir():
            each.unlink()
        for each, content in parts.items():
            each.write_bytes(content)
    return delivered
