"""Keeps recordings as objects that are written once, appear whole, and are named by their call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from uuid import uuid4

from common.errors import ConfigurationError, Transient
from common.store_url import read_store_url
from worker.recordings.folder_store import FolderStore
from worker.recordings.recording_backend import Backend, FoundObject
from worker.recordings.recording_key import content_key
from worker.recordings.recording_staging import STAGED_PREFIX, Staged

# Beside the accounts: a key's parts never begin with a dot, so that no recording can be called so.
_TRIED = ".incoming"


@dataclass(frozen=True)
class StoredObject:
    """An object as it lies in the store: its key, its size and the SHA-256 of its content (32 bytes)."""

    key: str
    size_bytes: int
    sha256: bytes


class RecordingStore:
    """The store that a URL names, whatever kind it is of. Safe for several threads.

    Raises ConfigurationError when the URL or the credentials beside it cannot be used, or a folder cannot be made; a
    cloud is not asked.
    """

    def __init__(self, url: str) -> None:
        self._backend = _open(url)

    def staged(self, chunks: Iterable[bytes]) -> AbstractContextManager[Staged]:
        """Write `chunks` to a local file that is there for the block, measured and seen by nobody.

        What `chunks` raises passes through and leaves nothing behind. Raises Transient when the file cannot be written.
        """
        return self._backend.staging.staged(chunks)

    def place(self, staged: Staged, key: str) -> StoredObject:
        """Make a staged recording an object that is durable, and whole as soon as it can be seen.

        The same content under a key that exists is that object. Other content, and what is too large to claim a name,
        gets its SHA-256 appended to its name. Raises Transient when the store fails.
        """
        if not self._claim(staged, key):
            key = content_key(key, staged.sha256)
            # One of this name that has another content is damaged, and mended by this.
            if not self._backend.holds(key, staged):
                self._backend.write(staged, key)
        return StoredObject(key, staged.size_bytes, staged.sha256)

    def _claim(self, staged: Staged, key: str) -> bool:
        if staged.size_bytes > self._backend.most_created_bytes:
            return False
        return self._backend.create(staged, key) or self._backend.holds(key, staged)

    def find(self, key: str) -> FoundObject | None:
        """Return what the store tells of an object, None when there is none; raises Transient."""
        return self._backend.find(key)

    def digest(self, key: str) -> bytes:
        """Read an object and return the SHA-256 of its content; raises Transient."""
        return self._backend.digest(key)

    def folders(self, prefix: str = "") -> list[str]:
        """Name what stands next below a prefix in keys, such as the accounts; raises Transient."""
        return [name for name in self._backend.folders(prefix) if not name.startswith(".")]

    def objects(self, prefix: str) -> Iterator[FoundObject]:
        """Yield the objects of one day, given by its prefix, in no order; raises Transient."""
        return self._backend.objects(prefix)

    def right_below(self, prefix: str = "") -> list[FoundObject]:
        """Return the objects right below a prefix, without those of folders in it; raises Transient."""
        found = self._backend.right_below(prefix)
        return [each for each in found if not each.key.rpartition("/")[2].startswith(".")]

    def require(self) -> None:
        """Raise ConfigurationError when there is no such bucket for certain; Transient when that cannot be told."""
        self._backend.require()

    def try_out(self) -> None:
        """Write an object, see that its name is taken then, read it back and delete it.

        Raises Transient when the store fails in one of them, ConfigurationError when there is no such bucket.
        """
        self.require()
        key = f"{_TRIED}/{STAGED_PREFIX}{uuid4().hex}"
        with self.staged([uuid4().bytes]) as staged:
            created = self._backend.create(staged, key)
            taken = not self._backend.create(staged, key)
        same = self._backend.digest(key) == staged.sha256
        self._backend.delete(key)
        if not created or not same:
            raise Transient("the recording store gave back something else than what was written")
        if not taken:
            raise Transient("the recording store lets a second writer overwrite an object (it ignores If-None-Match)")


def _open(url: str) -> Backend:
    try:
        address = read_store_url(url)
    except ValueError as error:
        raise ConfigurationError(f"CDR_RECORDINGS_URL: {error}") from error
    if address.kind == "file":
        return FolderStore(address.prefix)
    # Its library is heavy for a worker that loads CDRs, and for a command.
    from worker.recordings.object_store import ObjectStore

    return ObjectStore(address)
