"""Keeps recordings as objects that are written once, appear whole, and are named by their call."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urlsplit
from uuid import uuid4

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore

from common.errors import ConfigurationError, Transient

# No account can be called so: a key's parts never begin with a dot.
_STAGING = ".incoming"

_PART_BYTES = 1 << 20

# A file's name may have 255 bytes: two such parts, a hash of 64 digits and an extension.
_LONGEST_PART = 80


@dataclass(frozen=True)
class StoredObject:
    """An object as it lies in the store: its key, its size and the SHA-256 of its content (32 bytes)."""

    key: str
    size_bytes: int
    sha256: bytes


def recording_key(account: str, started_at: datetime, call_id: str, call_type: str | None, extension: str) -> str:
    """Name a recording `account/year/month/day/call_id-type.extension`, the day being UTC's.

    Call ids come from outside and hold anything: each part is percent-encoded (blanks become underscores), cannot
    begin with a dot, and when long is cut and told apart by a hash.
    """
    name = f"{_key_part(call_id)}-{_key_part(call_type or 'unknown')}.{extension}"
    return f"{_key_part(account)}/{started_at.astimezone(UTC):%Y/%m/%d}/{name}"


def _key_part(text: str) -> str:
    part = quote(text.replace(" ", "_"), safe="", errors="replace")
    if part.startswith("."):
        part = f"%2E{part[1:]}"
    if len(part) <= _LONGEST_PART:
        return part
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()
    return f"{part[: _LONGEST_PART - 33]}-{digest[:32]}"


class RecordingStore:
    """A folder of recordings, named by a `file:///` URL and made when it is missing. Safe for several threads.

    Raises ConfigurationError when the folder cannot be made.
    """

    def __init__(self, url: str) -> None:
        self._folder = Path(unquote(urlsplit(url).path))
        try:
            self._store = LocalStore(self._folder, mkdir=True)
        except (BaseError, OSError) as error:
            raise ConfigurationError(f"CDR_RECORDINGS_URL: cannot use {self._folder}: {error}") from error

    def put(self, key: str, chunks: Iterable[bytes]) -> StoredObject:
        """Stream `chunks` into a new object, seen by nobody before it is whole and on disk.

        The same content under a key that exists is that object; other content gets its SHA-256 appended to its name.
        What `chunks` raises passes through and leaves nothing behind. Raises Transient when the store fails.
        """
        staged = f"{_STAGING}/{uuid4().hex}"
        content = _Measured(chunks)
        with _translated():
            obstore.put(self._store, staged, content, chunk_size=_PART_BYTES, max_concurrency=1)
            try:
                _flush(self._folder / staged)
                placed = self._place(staged, key, content.digest())
            finally:
                with suppress(FileNotFoundError):
                    obstore.delete(self._store, staged)
        return StoredObject(placed, content.size_bytes, content.digest())

    def try_out(self) -> None:
        """Write an object, read it back and delete it; raises Transient when the store fails in one of them."""
        stored = self.put(f"{_STAGING}/{uuid4().hex}", [uuid4().bytes])
        with _translated():
            try:
                same = self._digest_of(stored.key) == stored.sha256
            finally:
                obstore.delete(self._store, stored.key)
        if not same:
            raise Transient("the recording store gave back something else than what was written")

    def _place(self, staged: str, key: str, sha256: bytes) -> str:
        if self._claim(staged, key) or self._digest_of(key) == sha256:
            return key
        path = PurePosixPath(key)
        # The whole hash: an object that has this name already can only be the same content.
        renamed = str(path.with_name(f"{path.stem}-{sha256.hex()}{path.suffix}"))
        self._claim(staged, renamed)
        return renamed

    def _claim(self, staged: str, key: str) -> bool:
        try:
            obstore.rename(self._store, staged, key, overwrite=False)
        except AlreadyExistsError:
            return False
        _flush((self._folder / key).parent)
        return True

    def _digest_of(self, key: str) -> bytes:
        digest = hashlib.sha256()
        for chunk in obstore.get(self._store, key).stream(min_chunk_size=_PART_BYTES):
            digest.update(chunk)
        return digest.digest()


class _Measured:
    """Passes chunks on, counting their bytes and hashing them on the way."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.size_bytes += len(chunk)
            self._hash.update(chunk)
            yield chunk

    def digest(self) -> bytes:
        return self._hash.digest()


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
    except (BaseError, OSError) as error:
        raise Transient(f"the recording store failed: {type(error).__name__}: {error}"[:500]) from error
