"""Names that come more than once in one object: the last value stands, and a note tells of those before it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any, Final

_SHOWN: Final = 60
_SHOWN_NAME: Final = 100
# More would tell nothing more: that sender is broken, and a body can hold hundreds of thousands.
_MOST_NOTES: Final = 20


def shown(value: Any) -> str:
    """Quote a value for a problem line, cut short; nothing in it is raw that a terminal or a database minds."""
    if isinstance(value, str):
        # No more than is shown is quoted: a text may have megabytes.
        value = value[: _SHOWN + 1]
    text = repr(str(value) if isinstance(value, Decimal) else value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def remarks_on_repeats(pairs: Sequence[tuple[str, Any]]) -> list[tuple[str, str]]:
    """Return each name of which a value is lost in `dict(pairs)`, with a remark that shows the lost one.

    A value that was sent twice is not lost. At most 20 names have a remark, and then one more line tells how many.
    """
    last = dict(pairs)
    if len(last) == len(pairs):
        return []
    lost = {name: value for name, value in pairs if value is not last[name] and value != last[name]}
    told = list(lost.items())[:_MOST_NOTES]
    remarks = [(name, f"sent more than once: the last stands, not {shown(value)}") for name, value in told]
    if len(lost) > len(told):
        remarks.append((told[-1][0], f"one of {len(lost):,} names that were sent more than once"))
    return remarks


def notes_on_repeats(pairs: Sequence[tuple[str, Any]]) -> list[str]:
    """Return the remarks as notes on the fields themselves."""
    return [note(name, remark) for name, remark in remarks_on_repeats(pairs)]


def notes_inside(field: str, remarks: Iterable[tuple[str, str]]) -> list[str]:
    """Return the remarks on names somewhere inside of a field as notes on that field."""
    return [note(field, f"{shown(name)} in it was {remark}") for name, remark in islice(remarks, _MOST_NOTES)]


def note(field: str, what: str) -> str:
    """Return a line for the column `problems`."""
    return f"{field[:_SHOWN_NAME]}: {what}"
