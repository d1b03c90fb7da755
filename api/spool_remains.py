"""What can be read of a damaged file that stays where it is: drained from there in its order, and nothing written to it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from api.spool_entry import Entry, unpack
from api.spool_file import MAX_READ_BYTES, FileDamaged, SpoolTotals
from api.spool_salvage import RowBetween, salvaged


class _Size(NamedTuple):
    cdrs: int
    bytes: int
    spooled_at: float


class Remains:
    """The entries of a damaged file that are whole; `forgotten` are the ids of those that are safe elsewhere.

    `why` says what is wrong with the file. It is read through once to find them. A crash forgets what was forgotten: it is then drained once more.
    """

    def __init__(self, row_between: RowBetween, why: str) -> None:
        self.why = why
        self._row_between = row_between
        found = {row[0]: _Size(row[4], len(row[7]), row[1]) for row in salvaged(row_between)}
        self._sizes = dict(sorted(found.items()))
        self.forgotten: list[int] = []
        self.totals = self._count()

    def read(self, cdrs: int, after: int) -> list[Entry]:
        """Return entries in order as `SpoolFile.read` does; one that cannot be read any more is passed over."""
        entries: list[Entry] = []
        size = 0
        ids = list(self._sizes)
        for entry_id in ids[bisect_right(ids, after) :]:
            entry = self._entry(entry_id)
            if entry is None:
                continue
            entries.append(entry)
            cdrs -= entry.batch.count
            size += len(entry.batch.entries)
            if cdrs <= 0 or size >= MAX_READ_BYTES:
                break
        return entries

    def forget(self, entry_ids: Sequence[int]) -> None:
        """Leave out entries that are safe elsewhere; an id that is not there is passed over."""
        self.forgotten += [entry_id for entry_id in entry_ids if self._sizes.pop(entry_id, None) is not None]
        self.totals = self._count()

    def _count(self) -> SpoolTotals:
        sizes = self._sizes.values()
        oldest = next((each.spooled_at for each in sizes), None)
        return SpoolTotals(len(sizes), sum(each.cdrs for each in sizes), sum(each.bytes for each in sizes), oldest)

    def _entry(self, entry_id: int) -> Entry | None:
        try:
            row = self._row_between(entry_id - 1, entry_id + 1, False)
        except FileDamaged:
            row = None
        if row is None:
            # It is broken by now, and stays in the file like all else that is.
            del self._sizes[entry_id]
            self.totals = self._count()
            return None
        return unpack(row)
