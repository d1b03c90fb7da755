"""Keeps recordings in files of this machine until they are whole, measured and placed."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from common.errors import Transient

# Longer than any fetch takes: what is older was left by a process that was killed.
LEFT_BEHIND_SECONDS = 86_400.0
STAGED_PREFIX = "cdr-recording-"


@dataclass(frozen=True)
class Staged:
    """A whole recording in a local file: its size, and the SHA-256 of its content (32 bytes)."""

    path: Path
    size_bytes: int
    sha256: bytes


class Staging:
    """A folder in which recordings wait to be placed, made when it is missing; raises OSError when it cannot be.

    With `private` nobody else may read them there: for a folder that all programs of the machine share. What processes
    that were killed left behind is removed.
    """

    def __init__(self, folder: Path, *, private: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._mode = 0o600 if private else 0o666
        self._remove_left_behind()

    @contextmanager
    def staged(self, chunks: Iterable[bytes]) -> Iterator[Staged]:
        """Write `chunks` to a file that is there for the block; what `chunks` raises passes through.

        Raises Transient when the file cannot be written.
        """
        path = self._folder / f"{STAGED_PREFIX}{uuid4().hex}"
        try:
            yield self._write(path, chunks)
        finally:
            # What cannot be removed now is left behind, and removed at some later start.
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _write(self, path: Path, chunks: Iterable[bytes]) -> Staged:
        digest = hashlib.sha256()
        size_bytes = 0
        with self._created(path) as file:
            for chunk in chunks:
                digest.update(chunk)
                size_bytes += len(chunk)
                with _translated():
                    file.write(chunk)
        return Staged(path, size_bytes, digest.digest())

    @contextmanager
    def _created(self, path: Path) -> Iterator[BinaryIO]:
        with _translated():
            file = os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, self._mode), "wb")
        try:
            yield file
            with _translated():
                file.flush()
        finally:
            # What could not be written was told above.
            with suppress(OSError):
                file.close()

    def _remove_left_behind(self) -> None:
        oldest = time.time() - LEFT_BEHIND_SECONDS
        for path in self._folder.glob(f"{STAGED_PREFIX}*"):
            # In a folder that is shared, another user's file, or one that is gone by now, is none of ours.
            with suppress(OSError):
                found = path.lstat()
                if stat.S_ISREG(found.st_mode) and found.st_uid == os.getuid() and found.st_mtime < oldest:
                    path.unlink()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Transient(f"a recording cannot be staged: {type(error).__name__}: {error}"[:500]) from error
