"""The disk that holds what Redis cannot take: batches go in and are safe, and come out again in their order."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeVar

import structlog

from api.spool_entry import Batch, Entry, pack
from api.spool_file import FileDamaged, SpoolFile, SpoolTotals
from api.spool_lock import HeldFile, bytes_beside, bytes_of, translated
from api.spool_note import as_note
from api.spool_remains import Remains
from api.spool_salvage import salvaged
from common.errors import SpoolUnavailable

__all__ = ["Batch", "Entry", "NotReplaced", "Spool", "SpoolTotals"]

# What the spool leaves of its disk, at most: to delete takes a little room, and so does all else that runs there.
RESERVE_BYTES = 64 * 1024 * 1024
RESERVE_SHARE = 20

_log = structlog.get_logger("api.spool")
_Result = TypeVar("_Result")


class NotReplaced(SpoolUnavailable):
    """The spool's file is damaged and could not be copied: it takes nothing more, and `remains` is drained from it."""

    def __init__(self, remains: Remains) -> None:
        super().__init__(remains.why)
        self.remains = remains


class Spool:
    """One file, held by this process until `close`; one call at a time.

    After a failure the file is opened anew before its next use. A file that is damaged or was removed is replaced
    by a new one with every entry that can still be read, under the same ids. Where a damaged one cannot be copied, for
    want of room, what can be read is drained from where it is: nothing is appended or deleted any more, so that no write
    can make the damage worse, and `close` moves the file aside once it is drained.
    """

    def __init__(self, held: HeldFile, max_bytes: int) -> None:
        self._held = held
        self._max_bytes = max_bytes
        self._file = SpoolFile(held.path)
        self._is_closed = False
        self._remains: Remains | None = None
        with contextlib.suppress(NotReplaced):
            self._make_ready()
        self._note()

    @property
    def damage(self) -> str | None:
        """Why nothing more can be appended, ever; None while something can."""
        return None if self._remains is None else self._remains.why

    def append(self, batches: Sequence[Batch]) -> None:
        """Store all batches or none; they are on disk when this returns.

        Raises SpoolUnavailable when they are not for certain: they may then be there or not, each whole. NotReplaced
        says that this spool takes no more.
        """
        if not batches:
            return
        packed = [pack(batch) for batch in batches]
        self._make_ready()
        self._check_room(sum(len(batch.content) for batch in packed))
        self._run(lambda: self._file.insert(packed, time.time()))
        if not self._held.is_in_place:
            self._move()
        self._note()

    def check(self) -> None:
        """Write something and have it on disk, as `append` would; raises SpoolUnavailable."""
        self._make_ready()
        self._check_room(1)
        self._run(self._file.touch)

    def oldest(self, cdrs: int, after: int = 0) -> list[Entry]:
        """Return entries from the front, or from behind the id `after`.

        They end with the one that brings them to `cdrs` CDRs or to 8 MB; there is one if the spool holds one. Raises
        SpoolUnavailable.
        """
        try:
            return self._run(lambda: self._file.read(cdrs, after))
        except NotReplaced as error:
            return error.remains.read(cdrs, after)

    def delete(self, entry_ids: Sequence[int]) -> None:
        """Delete entries; an id that is not there is passed over, so this may be tried again.

        Raises SpoolUnavailable: then the entries may be there still.
        """
        try:
            self._run(lambda: self._file.delete(entry_ids))
        except NotReplaced as error:
            error.remains.forget(entry_ids)
            self._note()
            return
        self._note()
        with contextlib.suppress(SpoolUnavailable):
            # What was asked for is done: a disk that has no room for tidying is found by the next call.
            self._run(self._file.give_back)

    def state(self) -> SpoolTotals:
        """Return what the spool holds, as far as it was known after the last call."""
        return self._file.totals if self._remains is None else self._remains.totals

    def close(self) -> None:
        """Give the file up, and remove it when nothing is in it; move it aside when only what is damaged is."""
        if self._is_closed:
            return
        try:
            is_empty = not self._run(lambda: self._file.read(1, 0))
        except SpoolUnavailable:
            is_empty = False
        self._is_closed = True
        is_drained = self._remains is not None and not self._remains.totals.entries
        if self._remains is not None and is_drained:
            self._file.cut_down(self._remains.forgotten)
        self._file.close()
        with contextlib.suppress(SpoolUnavailable):
            # What cannot be removed is left to the next process that can lock it.
            (self._held.set_aside if is_drained else self._held.remove if is_empty else self._held.release)()

    def _note(self) -> None:
        # It is for people to look at: what was asked for is done without it.
        with contextlib.suppress(SpoolUnavailable):
            self._held.note(as_note(self.state()))

    def _run(self, operation: Callable[[], _Result]) -> _Result:
        self._make_ready()
        try:
            try:
                return operation()
            except FileDamaged as damage:
                self._move(damage)
                return operation()
        except NotReplaced:
            raise
        except BaseException:
            self._file.close()
            raise

    def _make_ready(self) -> None:
        if self._is_closed:
            raise SpoolUnavailable("the spool was closed")
        if self._remains is not None:
            raise NotReplaced(self._remains)
        if not self._held.is_in_place:
            self._move()
        if self._file.is_open:
            return
        try:
            try:
                self._file.open()
                self._held.sync_folder()
            except FileDamaged as damage:
                self._move(damage)
        except NotReplaced:
            raise
        except BaseException:
            self._file.close()
            raise

    def _move(self, damage: FileDamaged | None = None) -> None:
        """Go on with a new file that has what can be read of this one; the old one stays as it is until then.

        Raises NotReplaced when that cannot be done with a damaged one.
        """
        known = self._file.totals.entries
        try:
            held, file = self._copy(damage)
        except SpoolUnavailable as error:
            if damage is not None:
                self._stay(damage, error)
            raise
        self._file.close()
        with contextlib.suppress(SpoolUnavailable):
            # A file that cannot be moved stays locked, so that nobody copies its entries once more while we live. What
            # is left of one that was removed is cleared away by whoever locks it next.
            (self._held.release if damage is None else self._held.set_aside)()
        _log.error(
            "a spool's file was replaced",
            file=self._held.path.name,
            reason="it was removed" if damage is None else str(damage),
            by=held.path.name,
            entries_known=known,
            entries_saved=file.totals.entries,
        )
        self._held, self._file = held, file
        self._note()

    def _copy(self, damage: FileDamaged | None) -> tuple[HeldFile, SpoolFile]:
        if damage is not None:
            # A copy that fills the disk before it fails would take from all others that need it.
            self._check_disk(bytes_of(self._held.path))
        held = HeldFile.make(self._held.path.parent)
        file = SpoolFile(held.path, self._file.last_id)
        try:
            file.open(salvaged(self._file.row_between) if self._file.is_open else ())
            held.sync_folder()
        except BaseException:
            file.close()
            held.remove()
            raise
        return held, file

    def _stay(self, damage: FileDamaged, error: SpoolUnavailable) -> NoReturn:
        remains = Remains(self._file.row_between, f"{damage}, and it cannot be copied: {error}")
        _log.error(
            "a damaged spool is drained from where it is",
            file=self._held.path.name,
            reason=str(damage),
            not_copied=str(error),
            entries_known=self._file.totals.entries,
            entries_readable=remains.totals.entries,
        )
        self._remains = remains
        self._note()
        raise NotReplaced(remains) from error

    def _check_room(self, size: int) -> None:
        taken = self._file.totals.bytes + bytes_beside(self._held.path)
        if taken + size > self._max_bytes:
            raise SpoolUnavailable(f"the spool holds {taken} bytes of {self._max_bytes}")
        self._check_disk(size)

    def _check_disk(self, size: int) -> None:
        with translated():
            disk = os.statvfs(self._held.path.parent)
        reserve = min(RESERVE_BYTES, disk.f_blocks * disk.f_frsize // RESERVE_SHARE)
        free = disk.f_bavail * disk.f_frsize
        if free < reserve + size:
            raise SpoolUnavailable(f"{free} bytes are free on the spool's disk, of which {reserve} are not for it")
