"""Reads around what is broken in a damaged file, so that an entry is lost only where it stood itself."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

from api.spool_entry import Row
from api.spool_file import FileDamaged

# Returns the first row between two ids, or the last one when asked to look backwards; raises FileDamaged.
RowBetween = Callable[[int, int, bool], Row | None]

# How many places of one file are looked at in search of what is left between broken ones: about a second of work.
MAX_GAPS = 20_000
_END = 2**63 - 1


def salvaged(row_between: RowBetween) -> Iterator[Row]:
    """Yield the rows that can be read, each once, in no order.

    It reads forwards up to what is broken, finds the next readable row by steps that double, and looks again into the
    gap. Where no step finds one it reads backwards from the end.
    """
    after, _, is_broken = yield from _read(row_between, 0, _END)
    while is_broken:
        reached = _next_readable(row_between, after)
        if reached is None:
            _, reached, is_broken = yield from _read(row_between, after, _END, backwards=True)
            if is_broken and reached != _END:
                yield from _read_gap(row_between, after, reached)
            return
        yield from _read_gap(row_between, after, reached)
        after, _, is_broken = yield from _read(row_between, reached - 1, _END)


def _read(
    row_between: RowBetween, after: int, before: int, *, backwards: bool = False
) -> Generator[Row, None, tuple[int, int, bool]]:
    """Yield rows up to a broken one; return the ids between which none was read, and whether one was broken."""
    try:
        while (row := row_between(after, before, backwards)) is not None:
            yield row
            after, before = (after, row[0]) if backwards else (row[0], before)
    except FileDamaged:
        return after, before, True
    return after, before, False


def _next_readable(row_between: RowBetween, after: int) -> int | None:
    step = 1
    while after + step < _END:
        try:
            row = row_between(after + step, _END, False)
            return None if row is None else row[0]
        except FileDamaged:
            step *= 2
    return None


def _read_gap(row_between: RowBetween, after: int, before: int) -> Iterator[Row]:
    """Yield what can be read between two ids, from both ends and by halving what is left."""
    gaps = [(after, before)]
    for _ in range(MAX_GAPS):
        if not gaps:
            return
        after, before = gaps.pop()
        after, _, is_broken = yield from _read(row_between, after, before)
        if is_broken:
            _, before, is_broken = yield from _read(row_between, after, before, backwards=True)
        if is_broken and before - after > 2:
            middle = (after + before) // 2
            gaps += [(after, middle + 1), (middle, before)]
