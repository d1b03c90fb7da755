"""What a spool's owner notes beside its file, so that others on its host can tell what waits without opening the file.

SQLite's file is its owner's alone: others could not read what is still in its WAL, and closing it might disturb the
owner's locks. The note stands in the file that the owner holds locked, and is read without asking for that lock. It is
written after each change and not fsynced: after a crash of the machine it may be old, and the next owner writes it anew.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from api.spool_file import SpoolTotals
from api.spool_lock import LOCK_SUFFIX, spool_paths, translated

# Each note covers the last one, so that a reader meets no half of either.
NOTE_BYTES = 256


class SpoolNote(msgspec.Struct, frozen=True):
    """A spool by the name of its file; `totals` is None when its owner, of an older release, noted nothing."""

    file: str
    totals: SpoolTotals | None


def as_note(totals: SpoolTotals) -> bytes:
    """Return what is to be noted of a spool."""
    return msgspec.json.encode(totals).ljust(NOTE_BYTES)


@translated()
def read_notes(folder: Path) -> list[SpoolNote]:
    """Read what the owners of the spools in a folder noted, oldest file first; raises SpoolUnavailable."""
    return [SpoolNote(path.name, _totals(path)) for path in spool_paths(folder)]


def _totals(path: Path) -> SpoolTotals | None:
    try:
        return msgspec.json.decode(path.with_name(path.name + LOCK_SUFFIX).read_bytes(), type=SpoolTotals)
    except (FileNotFoundError, msgspec.DecodeError):
        # Beside a receiver at work files come and go.
        return None
