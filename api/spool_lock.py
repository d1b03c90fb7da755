"""The lock that makes one process the owner of a spool's file, and the steps by which that file comes and goes.

`<name>.spool` is the SQLite file, with its WAL and its journal beside it, and `<name>.spool.lock` is what the owner holds
by flock. It is not the SQLite file itself: to close any descriptor of that would drop SQLite's own locks. Files are made, moved
and removed under the lock only, and the lock's file goes last, so that whoever can lock what a crash left may clear it away.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from common.errors import SpoolUnavailable

SUFFIX = ".spool"
LOCK_SUFFIX = ".lock"
DAMAGED_SUFFIX = ".damaged"
_SQLITE_SUFFIXES = ("-wal", "-shm", "-journal")
_PART = re.compile(r"(.+\.spool)(?:\.lock|-wal|-shm|-journal)?")


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn what the operating system refuses into SpoolUnavailable."""
    try:
        yield
    except OSError as error:
        raise SpoolUnavailable(f"the spool's folder cannot be used: {error}") from error


class HeldFile:
    """A spool's file, be it there or not, while this process holds its lock."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock
        self._identity = _stat(path)

    @classmethod
    @translated()
    def make(cls, folder: Path) -> HeldFile:
        """Make a new empty file, and the folder where it is missing; raises SpoolUnavailable."""
        make_folder(folder)
        while True:
            name = f"{time.time():.0f}-{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
            held = cls.take(folder / name)
            # Someone who clears up may have locked the lock's file before we did.
            if held is not None:
                break
        try:
            held._create()  # noqa: SLF001 - its own
        except OSError:
            held.remove()
            raise
        return held

    @classmethod
    @translated()
    def take(cls, path: Path) -> HeldFile | None:
        """Lock a file unless somebody else holds it; raises SpoolUnavailable."""
        lock_path = _beside(path, LOCK_SUFFIX)
        lock = os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its last owner may have removed it since it was opened: then this locks nothing that others can see.
            if os.path.samestat(os.fstat(lock), lock_path.stat()):
                return cls(path, lock)
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError:
            os.close(lock)
            raise
        os.close(lock)
        return None

    def _create(self) -> None:
        # SQLite gives its WAL the same mode.
        os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        self._identity = _stat(self.path)

    @property
    @translated()
    def is_in_place(self) -> bool:
        """Tell whether the file that was taken or made is still the one under its name."""
        now = _stat(self.path)
        return now is not None and self._identity is not None and os.path.samestat(now, self._identity)

    @translated()
    def note(self, content: bytes) -> None:
        """Put down for others what the file holds, in place of what was noted before (api/spool_note.py)."""
        os.pwrite(self._lock, content, 0)

    @translated()
    def sync_folder(self) -> None:
        """Have the file's name on disk."""
        _sync(self.path.parent)

    @translated()
    def release(self) -> None:
        """Leave the file to whoever takes it."""
        os.close(self._lock)

    @translated()
    def remove(self) -> None:
        """Remove the file and all that belongs to it."""
        try:
            for suffix in ("", *_SQLITE_SUFFIXES, LOCK_SUFFIX):
                _beside(self.path, suffix).unlink(missing_ok=True)
        finally:
            os.close(self._lock)

    @translated()
    def set_aside(self) -> None:
        """Keep the file under a name that nobody adopts; when that fails it stays locked."""
        aside = _beside(self.path, DAMAGED_SUFFIX)
        # The file itself goes last: while it has its name it is tried again, and no part of it counts as left over.
        for suffix in (*_SQLITE_SUFFIXES, ""):
            with contextlib.suppress(FileNotFoundError):
                _beside(self.path, suffix).rename(_beside(aside, suffix))
        with contextlib.suppress(FileNotFoundError):
            _sync(self.path.parent)
        _beside(self.path, LOCK_SUFFIX).unlink(missing_ok=True)
        os.close(self._lock)


@translated()
def spool_paths(folder: Path) -> list[Path]:
    """Return the paths of the spools of which any part is in a folder, oldest first."""
    return sorted({folder / match[1] for part in folder.iterdir() if (match := _PART.fullmatch(part.name))})


@translated()
def bytes_beside(path: Path) -> int:
    """Return how much the other spools of a file's folder take on disk, in bytes."""
    return sum(bytes_of(other) for other in spool_paths(path.parent) if other != path)


@translated()
def bytes_of(path: Path) -> int:
    """Return how much a spool's file takes on disk with all that belongs to it, in bytes."""
    parts = (_beside(path, suffix) for suffix in ("", "-wal", "-journal"))
    return sum(found.st_size for part in parts if (found := _stat(part)) is not None)


@translated()
def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are missing, and have their names on disk; for its owner alone."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
