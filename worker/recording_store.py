"""Keeps recordings as objects that are written once, appear whole, and are named by their call."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from common.errors import ConfigurationError, Transient
from worker.recording_key import content_key
from worker.recording_staging import Staged, Staging

# No account can be called so: a key's parts never begin with a dot.
_STAGING = ".incoming"

_PART_BYTES = 1 << 20


@dataclass(frozen=True)
class StoredObject:
    """An object as it lies in the store: its key, its size and the SHA-256 of its content (32 bytes)."""

    key: str
    size_bytes: int
    sha256: bytes


class RecordingStore:
    """A folder of recordings, named by a `file:///` URL and made when it is missing. Safe for several threads.

    Raises ConfigurationError when the folder cannot be made.
    """

    def __init__(self, url: str) -> None:
        self._folder = Path(unquote(urlsplit(url).path))
        try:
            # In the store itself, so that placing a recording is a link on one file system.
            self._staging = Staging(self._folder / _STAGING)
        except OSError as error:
            raise ConfigurationError(f"CDR_RECORDINGS_URL: cannot use {self._folder}: {error}") from error

    def staged(self, chunks: Iterable[bytes]) -> AbstractContextManager[Staged]:
        """Write `chunks` to a local file that is there for the block, measured and seen by nobody.

        What `chunks` raises passes through and leaves nothing behind. Raises Transient when the file cannot be written.
        """
        return self._staging.staged(chunks)

    def place(self, staged: Staged, key: str) -> StoredObject:
        """Make a staged recording an object that is on disk, whole as soon as it can be seen.

        The same content under a key that exists is that object; other content gets its SHA-256 appended to its name.
        Raises Transient when the store fails.
        """
        with _translated():
            _flush(staged.path)
            if not self._link(staged, key) and self._digest_of(key) != staged.sha256:
                key = content_key(key, staged.sha256)
                self._link(staged, key)
        return StoredObject(key, staged.size_bytes, staged.sha256)

    def try_out(self) -> None:
        """Write an object, read it back and delete it; raises Transient when the store fails in one of them."""
        key = f"{_STAGING}/{uuid4().hex}"
        with self.staged([uuid4().bytes]) as staged:
            try:
                same = self.place(staged, key).key == key and self._reads_back(staged, key)
            finally:
                with suppress(OSError):
                    (self._folder / key).unlink(missing_ok=True)
        if not same:
            raise Transient("the recording store gave back something else than what was written")

    def _reads_back(self, staged: Staged, key: str) -> bool:
        with _translated():
            return self._digest_of(key) == staged.sha256

    def _link(self, staged: Staged, key: str) -> bool:
        """Give a staged file its name, and return whether the name was free."""
        target = self._folder / key
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(staged.path, target)
            free = True
        except FileExistsError:
            free = False
        # Of a name that exists too: whoever gave it may not have come this far.
        for folder in target.relative_to(self._folder).parents:
            _flush(self._folder / folder)
        return free

    def _digest_of(self, key: str) -> bytes:
        digest = hashlib.sha256()
        with (self._folder / key).open("rb") as file:
            while part := file.read(_PART_BYTES):
                digest.update(part)
        return digest.digest()


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
