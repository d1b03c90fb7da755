"""Reads the address of the recording store: a folder, or a bucket of one of the clouds, and what stands before each key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

_FORMS = "file:///folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix"
_BUCKETS = ("s3", "gs", "az")


@dataclass(frozen=True)
class StoreAddress:
    """Where recordings are: for `file` the folder as `prefix`, else a bucket, and the prefix of all keys in it or ""."""

    kind: Literal["file", "s3", "gs", "az"]
    bucket: str
    prefix: str

    def location(self, key: str) -> str:
        """Say where an object is, for people and other programs: a path, or a URL of its cloud."""
        if self.kind == "file":
            return str(PurePosixPath(self.prefix) / key)
        return "/".join(filter(None, (f"{self.kind}://{self.bucket}", self.prefix, key)))


def read_store_url(url: str) -> StoreAddress:
    """Return what a URL names; raise ValueError, without the URL in it, when it names no store."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ValueError(f"must be {_FORMS}") from error
    if parts.query or parts.fragment or "@" in parts.netloc:
        # A password would show up wherever the address does.
        raise ValueError("takes no @, ? or #: credentials go into the variables of the cloud")
    path = unquote(parts.path)
    if parts.scheme == "file" and not parts.netloc and path.startswith("/"):
        return StoreAddress("file", "", path)
    if parts.scheme in _BUCKETS and parts.netloc and ":" not in parts.netloc:
        return StoreAddress(parts.scheme, parts.netloc, _prefix(path))  # type: ignore[arg-type]
    raise ValueError(f"must be {_FORMS}")


def _prefix(path: str) -> str:
    prefix = path.strip("/")
    if prefix and (prefix != str(PurePosixPath(prefix)) or {".", ".."} & set(prefix.split("/"))):
        raise ValueError("has an empty part, . or .. in its prefix")
    return prefix
