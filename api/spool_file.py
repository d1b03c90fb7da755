"""One SQLite file of the spool: on disk when a call returns, readable after any crash, read around what is broken.

The caller holds the file's lock (`api/spool_lock.py`), makes one call at a time, and closes the file after a failure:
then no half-done transaction lives on.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, NamedTuple

from api.spool_entry import COLUMNS, Entry, PackedBatch, Row, is_whole, unpack
from common.errors import SpoolUnavailable

APPLICATION_ID = 0x43445253  # CDRS
FORMAT_VERSION = 1
MAX_READ_BYTES = 8 * 1024 * 1024
WAL_BYTES = 4 * 1024 * 1024
VACUUM_PAGES = 2048
_DELETED_AT_ONCE = 1000

_SETTINGS = (
    # Alone in its file SQLite needs no shared memory.
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = ON",
    "PRAGMA checkpoint_fullfsync = ON",
    # Overwriting what is deleted would take room on a disk that may be full.
    "PRAGMA secure_delete = OFF",
    "PRAGMA cell_size_check = ON",
    f"PRAGMA journal_size_limit = {WAL_BYTES}",
)
_SCHEMA = """CREATE TABLE entries (
    id INTEGER PRIMARY KEY, spooled_at REAL NOT NULL, function BLOB NOT NULL, version INTEGER NOT NULL,
    cdrs INTEGER NOT NULL, compressed INTEGER NOT NULL, checksum INTEGER NOT NULL, content BLOB NOT NULL)"""
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM entries"  # noqa: S608 - names of ours
_INSERT = f"INSERT INTO entries VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 - as above
_TOTALS = (
    "SELECT count(*), coalesce(sum(cdrs), 0), coalesce(sum(length(content)), 0), coalesce(max(id), 0) FROM entries"
)
_SIZE = "SELECT cdrs, length(content) FROM entries WHERE id = ?"
_OLDEST = "SELECT spooled_at FROM entries ORDER BY id LIMIT 1"

_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
# While reading also: a table that is gone, a length that cannot be, and a sector that the disk cannot read. What stands
# elsewhere is copied out, so a failure that was to pass costs nothing.
_DAMAGE_WHILE_READING = _DAMAGE | {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_IOERR_READ}


class FileDamaged(SpoolUnavailable):
    """The file is no spool any more, or a part of it cannot be read."""


class NewerFile(SpoolUnavailable):
    """The file was written by a newer release."""


class SpoolTotals(NamedTuple):
    """What a spool holds: `bytes` as they are stored; `oldest` is seconds since the epoch, None when it is empty."""

    entries: int = 0
    cdrs: int = 0
    bytes: int = 0
    oldest: float | None = None


class SpoolFile:
    """A file that exists, be it empty; ids begin after `last_id`, and none is given twice."""

    def __init__(self, path: Path, last_id: int = 0) -> None:
        self.path = path
        self.last_id = last_id
        self.totals = SpoolTotals()
        self._connection: sqlite3.Connection | None = None
        self._checkpointed = False

    @property
    def is_open(self) -> bool:
        """Tell whether the file may be used."""
        return self._connection is not None

    def open(self, rows: Iterable[Row] = ()) -> None:
        """Open the file and count what it holds; one that was never finished is made, with `rows` in it.

        Raises FileDamaged, after which `row_between` reads what can be read, NewerFile or SpoolUnavailable.
        """
        with self._translated(_DAMAGE_WHILE_READING):
            self._connection = self._connect()
            for setting in _SETTINGS:
                self._value(setting)
            if self._is_unfinished():
                self._create(rows)
            self._value("PRAGMA journal_mode = WAL")
            with self._transaction():
                pass  # A file that cannot be written says so now, and not at its first append.
            entries, cdrs, size, last_id = self._db.execute(_TOTALS).fetchone()
            self.totals = SpoolTotals(entries, cdrs, size, self._value(_OLDEST))
            self.last_id = max(self.last_id, last_id)
        self._checkpointed = False
        with contextlib.suppress(SpoolUnavailable):
            # What is there can be read on a full disk too.
            self._checkpoint()

    def close(self) -> None:
        """Close the file; what was not committed is gone."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def insert(self, batches: Sequence[PackedBatch], spooled_at: float) -> None:
        """Store all batches or none; they are on disk when this returns."""
        if not self._checkpointed:
            # After a failed fsync, pages of the WAL may count as written and not be on disk, and at a power cut all that
            # follows them would be lost with them. So what they hold goes into the file itself before anything follows.
            self._checkpoint()
        rows = [batch.row(self.last_id + place, spooled_at) for place, batch in enumerate(batches, 1)]
        with self._translated(_DAMAGE), self._transaction() as connection:
            connection.executemany(_INSERT, rows)
        self.last_id += len(rows)
        self.totals = SpoolTotals(
            self.totals.entries + len(rows),
            self.totals.cdrs + sum(batch.cdrs for batch in batches),
            self.totals.bytes + sum(len(batch.content) for batch in batches),
            spooled_at if self.totals.oldest is None else self.totals.oldest,
        )

    def touch(self) -> None:
        """Write what the file says already, and have it on disk."""
        if not self._checkpointed:
            self._checkpoint()
        with self._translated(_DAMAGE), self._transaction():
            self._value(f"PRAGMA user_version = {FORMAT_VERSION}")

    def read(self, cdrs: int, after: int) -> list[Entry]:
        """Return entries in order until they reach `cdrs` CDRs or MAX_READ_BYTES; at least one if there is one."""
        entries: list[Entry] = []
        size = 0
        with (
            self._translated(_DAMAGE_WHILE_READING),
            contextlib.closing(self._db.execute(f"{_SELECT} WHERE id > ? ORDER BY id", (after,))) as rows,
        ):
            for row in rows:
                if not is_whole(row):
                    raise FileDamaged(f"entry {row[0]} of {self.path.name} is not what was written")
                entries.append(unpack(row))
                cdrs -= entries[-1].batch.count
                size += len(entries[-1].batch.entries)
                if cdrs <= 0 or size >= MAX_READ_BYTES:
                    break
        return entries

    def delete(self, entry_ids: Sequence[int]) -> None:
        """Delete entries, all or none; ids that are not there are passed over."""
        entries, cdrs, size, _ = self.totals
        with self._translated(_DAMAGE), self._transaction() as connection:
            for entry_id in entry_ids:
                found = connection.execute(_SIZE, (entry_id,)).fetchone()
                if found is not None:
                    connection.execute("DELETE FROM entries WHERE id = ?", (entry_id,))
                    entries, cdrs, size = entries - 1, cdrs - found[0], size - found[1]
            oldest = self._value(_OLDEST)
        self.totals = SpoolTotals(entries, cdrs, size, oldest)

    def give_back(self) -> None:
        """Give freed pages to the file system: all when nothing is left, else a step when most of the file is free."""
        with self._translated(_DAMAGE):
            free, pages = self._value("PRAGMA freelist_count"), self._value("PRAGMA page_count")
            if self.totals.entries:
                if free > max(VACUUM_PAGES, pages // 2):
                    # A plain execute() takes one step of this statement, which frees one page.
                    self._db.executescript(f"PRAGMA incremental_vacuum({VACUUM_PAGES})")
                return
            if not free:
                return
            # It copies what is there, which is nothing: one write, however large the file is.
            self._value("VACUUM")
        self._checkpoint()

    def cut_down(self, entry_ids: Sequence[int]) -> None:
        """Delete entries of a damaged file and give their room back, as far as its damage and its disk let that be."""
        with contextlib.suppress(SpoolUnavailable):
            self.close()
            self.open()
            for start in range(0, len(entry_ids), _DELETED_AT_ONCE):
                self.delete(entry_ids[start : start + _DELETED_AT_ONCE])
            with self._translated(_DAMAGE):
                self._db.executescript("PRAGMA incremental_vacuum")
            self._checkpoint()

    def row_between(self, after: int, before: int, backwards: bool) -> Row | None:
        """Return the first row between two ids, or the last one; raises FileDamaged when it cannot be read whole."""
        # One at a time: a cursor reads ahead, and where that fails it does not give the row before.
        order = "DESC" if backwards else "ASC"
        try:
            with self._translated(_DAMAGE_WHILE_READING):
                # By its first and last id: to search for the one before the first would touch the page of that one.
                statement = f"{_SELECT} WHERE id BETWEEN ? AND ? ORDER BY id {order} LIMIT 1"
                row: Row | None = self._db.execute(statement, (after + 1, before - 1)).fetchone()
        except MemoryError as error:
            raise FileDamaged(f"{self.path.name} tells a length that cannot be") from error
        if row is not None and not (after < row[0] < before and is_whole(row)):
            raise FileDamaged(f"entry {row[0]} of {self.path.name} is not what was written")
        return row

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
        )
        # A broken file may hold text that is none.
        connection.text_factory = bytes
        return connection

    def _is_unfinished(self) -> bool:
        application_id = self._value("PRAGMA application_id")
        # A file that holds entries has more pages than the first.
        if application_id == 0 and self._value("PRAGMA page_count") <= 1:
            return True
        if application_id != APPLICATION_ID:
            raise FileDamaged(f"{self.path.name} is no spool")
        if self._value("PRAGMA user_version") > FORMAT_VERSION:
            raise NewerFile(f"{self.path.name} was written by a newer release")
        return False

    def _create(self, rows: Iterable[Row]) -> None:
        # One transaction, so that after a crash the file is either whole or unfinished, and one from before the WAL, so
        # that rows are written once.
        self._value("PRAGMA auto_vacuum = INCREMENTAL")
        with self._transaction() as connection:
            self._value(f"PRAGMA application_id = {APPLICATION_ID}")
            self._value(f"PRAGMA user_version = {FORMAT_VERSION}")
            self._value(_SCHEMA)
            connection.executemany(_INSERT, rows)

    def _checkpoint(self) -> None:
        with self._translated(_DAMAGE):
            if self._value("PRAGMA wal_checkpoint(TRUNCATE)") != 0:
                raise SpoolUnavailable(f"the WAL of {self.path.name} could not be moved into the file")
        self._checkpointed = True

    def _value(self, statement: str) -> Any:
        row = self._db.execute(statement).fetchone()
        return None if row is None else row[0]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _translated(self, damage: AbstractSet[int]) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", None)
            if code is not None and (code in damage or code & 0xFF in damage):
                raise FileDamaged(f"{self.path.name} is damaged: {error}") from error
            raise SpoolUnavailable(f"{self.path.name} cannot be used: {error}") from error
        except UnicodeDecodeError as error:
            # SQLite's message quotes a table's definition that is no text any more.
            raise FileDamaged(f"{self.path.name} is damaged: its schema is no text") from error

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            raise SpoolUnavailable(f"{self.path.name} is not open")
        return self._connection
