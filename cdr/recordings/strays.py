"""Finds what lies in the store outside of the folders of days, where no recording is ever put."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cdr.recordings.days import Span, is_number
from worker.recordings.recording_key import key_part
from worker.recordings.recording_store import RecordingStore

# The digits of a year, a month and a day, as they follow the account in a key.
_DIGITS = (4, 2, 2)


@dataclass(frozen=True)
class Stray:
    """An object, or a folder with whatever is in it, whose key ends with a slash and whose size nobody looked for."""

    key: str
    size_bytes: int | None


def find_strays(store: RecordingStore, span: Span) -> Iterator[Stray]:
    """Yield what is no account, year, month or day, where one of these belongs; raises Transient.

    Nothing lies outside of the days when only some days are meant. What begins with a dot is left aside, as everywhere.
    """
    if span.first_day or span.last_day:
        return
    if span.account is not None:
        yield from _below(store, key_part(span.account), _DIGITS)
        return
    yield from _objects(store, "")
    for account in sorted(store.folders()):
        yield from _below(store, account, _DIGITS)


def _below(store: RecordingStore, prefix: str, digits: tuple[int, ...]) -> Iterator[Stray]:
    yield from _objects(store, prefix)
    for name in sorted(store.folders(prefix)):
        if not is_number(name, digits[0]):
            yield Stray(f"{prefix}/{name}/", None)
        elif digits[1:]:
            yield from _below(store, f"{prefix}/{name}", digits[1:])


def _objects(store: RecordingStore, prefix: str) -> Iterator[Stray]:
    for found in sorted(store.right_below(prefix), key=lambda each: each.key):
        yield Stray(found.key, found.size_bytes)
