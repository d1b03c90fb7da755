"""Keeps recordings in a folder: files that get their name once they are whole and on disk."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from common.errors import ConfigurationError, Transient
from worker.recordings.recording_backend import PART_BYTES, FoundObject
from worker.recordings.recording_staging import Staged, Staging

# No part of a key begins with a dot.
_STAGING = ".incoming"


class FolderStore:
    """A folder and what is below it, made when it is missing; raises ConfigurationError when it cannot be."""

    most_created_bytes = sys.maxsize

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        try:
            # In the store itself, so that a name is given by a link on one file system.
            self.staging = Staging(self._folder / _STAGING)
        except OSError as error:
            raise ConfigurationError(f"CDR_RECORDINGS_URL: cannot use {folder}: {error}") from error

    def create(self, staged: Staged, key: str) -> bool:
        """Link the staged file to its name."""
        with _translated():
            _flush(staged.path)
            target = self._folder / key
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(staged.path, target)
                free = True
            except FileExistsError:
                free = False
            # Of a name that exists too: whoever gave it may not have come this far.
            self._flush_folders(key)
            return free

    def write(self, staged: Staged, key: str) -> None:
        """Link the staged file to a second name, which takes the place of the other."""
        second = f"{_STAGING}/{uuid4().hex}"
        if self.create(staged, second):
            with _translated():
                target = self._folder / key
                target.parent.mkdir(parents=True, exist_ok=True)
                (self._folder / second).replace(target)
                self._flush_folders(key)

    def holds(self, key: str, staged: Staged) -> bool:
        """Compare sizes, and where they are the same read the file."""
        found = self.find(key)
        return found is not None and found.size_bytes == staged.size_bytes and self.digest(key) == staged.sha256

    def find(self, key: str) -> FoundObject | None:
        """Look at the file."""
        with _translated():
            try:
                return _found(key, (self._folder / key).stat())
            except FileNotFoundError:
                return None

    def digest(self, key: str) -> bytes:
        """Read the file."""
        digest = hashlib.sha256()
        with _translated(), (self._folder / key).open("rb") as file:
            while part := file.read(PART_BYTES):
                digest.update(part)
        return digest.digest()

    def delete(self, key: str) -> None:
        """Remove the file."""
        with _translated():
            (self._folder / key).unlink(missing_ok=True)

    def folders(self, prefix: str) -> list[str]:
        """Name the folders."""
        with _translated(), _scanned(self._folder / prefix) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]

    def objects(self, prefix: str) -> Iterator[FoundObject]:
        """Yield the files of one folder; those of folders in it are no recordings."""
        with _translated(), _scanned(self._folder / prefix) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    yield _found(f"{prefix}/{entry.name}".lstrip("/"), entry.stat(follow_symlinks=False))

    def right_below(self, prefix: str) -> list[FoundObject]:
        """Look at the files of one folder."""
        return list(self.objects(prefix))

    def require(self) -> None:
        """The folder was made, or found, when this was."""

    def _flush_folders(self, key: str) -> None:
        # Up to the store's own, because each may be as new as the name in it.
        for folder in Path(key).parents:
            _flush(self._folder / folder)


def _found(key: str, status: os.stat_result) -> FoundObject:
    return FoundObject(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))


@contextmanager
def _scanned(folder: Path) -> Iterator[Iterator[os.DirEntry[str]]]:
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        yield iter(())
        return
    with entries:
        yield entries


def _flush(path: Path) -> None:
    # A row will say that the recording is kept, and its link may have expired when a power cut takes it back.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Transient(f"the recording store failed: {type(error).__name__}: {error}"[:500]) from error
