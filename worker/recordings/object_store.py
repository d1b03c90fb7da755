"""Keeps recordings in a bucket of S3, Google Cloud Storage or Azure, or of what speaks as one of them."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import AzureStore, GCSStore, S3Store
from pydantic_settings import SettingsConfigDict

from common.environment import Group, load
from common.errors import ConfigurationError, Transient
from common.store_url import StoreAddress
from worker.recordings.audio_kind import content_type_of
from worker.recordings.recording_backend import PART_BYTES, FoundObject
from worker.recordings.recording_staging import Staged, Staging
from worker.recordings.store_errors import is_missing, told
from worker.recordings.upload_budget import Budget

_KINDS = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
_HASH = "sha256"
_LISTED_AT_ONCE = 1000
_PARTS_AT_ONCE = 2
# What the library holds while it uploads in parts: those under way and the one that it reads.
_PARTS_BYTES = (_PARTS_AT_ONCE + 2) * PART_BYTES


@dataclass(frozen=True)
class Deadlines:
    """How long a store may take, in seconds: over a connection, over a request, and until no request is sent again."""

    connect_seconds: float = 5
    # Enough for the largest single upload at 550 kB a second.
    request_seconds: float = 120
    retry_seconds: float = 30

    @property
    def patience_seconds(self) -> float:
        """How long an upload waits for those before it."""
        return 2 * self.request_seconds


class _EndpointSettings(Group):
    """Where S3 is, when it is not Amazon's."""

    model_config = SettingsConfigDict(env_prefix="AWS_")

    endpoint: str = ""
    endpoint_url: str = ""
    endpoint_url_s3: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether an address was given that is meant to be used without TLS."""
        return any(url.startswith("http://") for url in (self.endpoint, self.endpoint_url, self.endpoint_url_s3))


class ObjectStore:
    """A bucket, and a prefix in it; raises ConfigurationError when the credentials in the environment are no such.

    Recordings are staged in the machine's temporary folder, so that a slow download holds up no upload.
    """

    # One request creates an object, or is refused; larger ones go in parts, whose end no store lets us make conditional.
    most_created_bytes = 64 << 20
    _budget = Budget(most_created_bytes, Deadlines().patience_seconds)

    def __init__(self, address: StoreAddress, deadlines: Deadlines = Deadlines()) -> None:
        self._url = address.location("")
        try:
            self._store: Any = _KINDS[address.kind](address.bucket, prefix=address.prefix or None, **_client(deadlines))
            self.staging = Staging(Path(tempfile.gettempdir()), private=True)
        except (BaseError, ValueError) as error:
            raise ConfigurationError(f"CDR_RECORDINGS_URL: {told(error)}") from None
        except OSError as error:
            raise ConfigurationError(f"TMPDIR: recordings cannot be staged there: {error}") from error

    def create(self, staged: Staged, key: str) -> bool:
        """Upload in one request that the store refuses when there is such an object."""
        with _translated(), self._budget.taken(staged.size_bytes):
            try:
                self._put(staged, key, staged.path.read_bytes(), mode="create")
            except AlreadyExistsError:
                return False
        return True

    def write(self, staged: Staged, key: str) -> None:
        """Upload in one request, or in parts that become an object at the end."""
        if staged.size_bytes <= PART_BYTES:
            with _translated(), self._budget.taken(staged.size_bytes):
                self._put(staged, key, staged.path.read_bytes(), use_multipart=False)
            return
        with _translated(), self._budget.taken(_PARTS_BYTES):
            self._put(
                staged, key, staged.path, use_multipart=True, chunk_size=PART_BYTES, max_concurrency=_PARTS_AT_ONCE
            )

    def _put(self, staged: Staged, key: str, content: bytes | Path, **options: Any) -> None:
        attributes = {_HASH: staged.sha256.hex(), "Content-Type": content_type_of(key)}
        obstore.put(self._store, key, content, attributes=attributes, **options)

    def holds(self, key: str, staged: Staged) -> bool:
        """Compare sizes and the hashes that were stored with them; an object without one is read."""
        with _translated():
            try:
                found = obstore.get(self._store, key, options={"head": True})
            except FileNotFoundError:
                return False
            if found.meta["size"] != staged.size_bytes:
                return False
            noted = found.attributes.get(_HASH)
        return noted == staged.sha256.hex() if noted else self.digest(key) == staged.sha256

    def find(self, key: str) -> FoundObject | None:
        """Ask for what is told of the object."""
        with _translated():
            try:
                return _found(obstore.head(self._store, key))
            except FileNotFoundError:
                return None

    def digest(self, key: str) -> bytes:
        """Read the object part by part, because a request may take only so long."""
        digest = hashlib.sha256()
        with _translated():
            size_bytes = obstore.head(self._store, key)["size"]
            for start in range(0, size_bytes, PART_BYTES):
                end = min(start + PART_BYTES, size_bytes)
                digest.update(obstore.get_range(self._store, key, start=start, end=end))
        return digest.digest()

    def delete(self, key: str) -> None:
        """Delete the object."""
        with _translated():
            obstore.delete(self._store, key)

    def folders(self, prefix: str) -> list[str]:
        """List what stands before the next slash."""
        with _translated():
            listed = obstore.list_with_delimiter(self._store, prefix or None)
        return [name.rstrip("/").rpartition("/")[2] for name in listed["common_prefixes"]]

    def objects(self, prefix: str) -> Iterator[FoundObject]:
        """List a thousand at a time."""
        with _translated():
            for page in obstore.list(self._store, prefix, chunk_size=_LISTED_AT_ONCE):
                yield from map(_found, page)

    def right_below(self, prefix: str) -> list[FoundObject]:
        """List what has no further slash; an object that only stands for the folder itself is none."""
        with _translated():
            listed = obstore.list_with_delimiter(self._store, prefix or None)
        return [_found(each) for each in listed["objects"] if each["path"] != prefix]

    def require(self) -> None:
        """List a page."""
        try:
            next(iter(obstore.list(self._store, chunk_size=1)), None)
        except (BaseError, OSError) as error:
            if is_missing(error):
                raise ConfigurationError(f"CDR_RECORDINGS_URL: there is no such bucket: {self._url}") from None
            raise _translation(error) from None


def _client(deadlines: Deadlines) -> dict[str, Any]:
    return {
        "client_options": {
            "connect_timeout": timedelta(seconds=deadlines.connect_seconds),
            "timeout": timedelta(seconds=deadlines.request_seconds),
            "allow_http": load(_EndpointSettings).is_plain,
        },
        "retry_config": {"max_retries": 3, "retry_timeout": timedelta(seconds=deadlines.retry_seconds)},
    }


def _found(listed: Any) -> FoundObject:
    return FoundObject(listed["path"], listed["size"], listed["last_modified"])


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError) as error:
        # Without its cause: the library's texts hold addresses, and those of some clouds a signature.
        raise _translation(error) from None


def _translation(error: Exception) -> Transient:
    return Transient(f"the recording store failed: {told(error)}")
