"""Between which provider_times the CDRs of each call lie: a fold that takes calls of many months reads of each its own.

The CDRs of a call lie within the row under which the call was folded last, or are among those that the outbox names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

from common.postgres import Cursor, statement
from worker.rows import as_text

# The key of a call as PostgreSQL writes it: it goes back as it came, and a UUID would be made of it only to be undone.
CallKey: TypeAlias = str


class Span(NamedTuple):
    """The first and the last provider_time of some CDRs."""

    first: datetime
    last: datetime

    def with_other(self, other: Span | None) -> Span:
        """Return what spans both."""
        return self if other is None else Span(min(self.first, other.first), max(self.last, other.last))


class CallSpans:
    """The spans of the calls of one fold, from the provider_times of their CDRs that changed, and from their rows."""

    def __init__(self, touched: Mapping[CallKey, Sequence[datetime]]) -> None:
        self._spans = {call_key: Span(min(times), max(times)) for call_key, times in touched.items()}

    def read_rows(self, cursor: Cursor, rows: Iterable[CallKey]) -> None:
        """Add what the rows of these calls span, where they have one."""
        for call_key, first, last in cursor.execute(statement("worker", "read_call_spans"), {"rows": as_array(rows)}):
            self._spans[call_key] = Span(first, last).with_other(self._spans.get(call_key))

    def of(self, folded_under: Mapping[CallKey, CallKey]) -> dict[CallKey, Span]:
        """Return the span of each call that is given with the row that held it last; calls without CDRs are left out."""
        spans = self._spans
        found = {}
        for call_key, row in folded_under.items():
            span, other = spans.get(call_key), spans.get(row) if row != call_key else None
            if bound := span.with_other(other) if span else other:
                found[call_key] = bound
        return found


def within(spans: Mapping[CallKey, Span]) -> dict[str, Any]:
    """Return the parameters of a statement that reads CDRs of calls: each call with its span, and the span of all."""
    firsts, lasts = [span.first for span in spans.values()], [span.last for span in spans.values()]
    return {
        "call_keys": as_array(spans),
        "firsts": as_array(map(as_text, firsts)),
        "lasts": as_array(map(as_text, lasts)),
        "from": min(firsts),
        "to": max(lasts),
    }


def as_array(words: Iterable[str]) -> str:
    """Write keys or times as PostgreSQL does an array, which takes psycopg's list several times as long."""
    return f"{{{','.join(words)}}}"
