"""What the spool keeps: a batch that becomes one job, and the checked, compressed row that it is on disk."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import NamedTuple

_COMPRESSION_LEVEL = 1

# The columns in their order; the large one is last, so that the others are read without it.
COLUMNS = ("id", "spooled_at", "function", "version", "cdrs", "compressed", "checksum", "content")
Row = tuple[int, float, bytes, int, int, int, int, bytes]


@dataclass(frozen=True, slots=True)
class Batch:
    """What becomes one job.

    `function` is the job's dotted name, `version` the payload version when it was spooled, `entries` the JSON array
    that the job carries, `count` how many elements it has.
    """

    function: str
    version: int
    entries: bytes
    count: int


class Entry(NamedTuple):
    """A batch in the spool; ids grow in the order of arrival, `spooled_at` is seconds since the epoch."""

    entry_id: int
    batch: Batch
    spooled_at: float


class PackedBatch(NamedTuple):
    """The columns that a batch fills, `content` compressed where that helps."""

    function: bytes
    version: int
    cdrs: int
    compressed: int
    content: bytes

    def row(self, entry_id: int, spooled_at: float) -> Row:
        """Return the row that holds it under this id."""
        checksum = _checksum(entry_id, spooled_at, *self)
        return (entry_id, spooled_at, self.function, self.version, self.cdrs, self.compressed, checksum, self.content)


def pack(batch: Batch) -> PackedBatch:
    """Compress a batch if that makes it smaller."""
    smaller = zlib.compress(batch.entries, _COMPRESSION_LEVEL)
    compressed = len(smaller) < len(batch.entries)
    content = smaller if compressed else batch.entries
    return PackedBatch(batch.function.encode(), batch.version, batch.count, int(compressed), content)


def is_whole(row: Row) -> bool:
    """Tell by its checksum whether a row is what was written: SQLite itself does not notice a changed byte."""
    *before, checksum, content = row
    return isinstance(content, bytes) and checksum == _checksum(*before, content)


def unpack(row: Row) -> Entry:
    """Return the entry that a whole row holds."""
    entry_id, spooled_at, function, version, cdrs, compressed, _, content = row
    entries = zlib.decompress(content) if compressed else content
    return Entry(entry_id, Batch(function.decode(), version, entries, cdrs), spooled_at)


def _checksum(*columns: object) -> int:
    *before, content = columns
    assert isinstance(content, bytes)
    return zlib.crc32(content, zlib.crc32(repr(before).encode()))
