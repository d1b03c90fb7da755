"""A time zone's offsets as sorted lists, for SQL that reads clocks as worker/clock.py does.

PostgreSQL has a zone database of its own, of another age, in which CET is no zone but an abbreviation for a fixed offset:
what a report says of a clock must come from the one that the workers go by.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from common.identity import MAX_TIME_RAW

# No zone has changed its offset twice within such a time since 1970.
_STEP_SECONDS = 86400


class ZonePeriods(NamedTuple):
    """The periods of one offset each, in order, from before 1970 to after 2100; all in seconds since 1970.

    `begins` are instants; `begins_locally` is the same as a wall clock written as if it were UTC, from which on the clocks
    are read by this period: an hour that comes twice is its first, one that never was has the offset before it.
    """

    begins: list[int]
    begins_locally: list[int]
    offsets: list[int]


@cache
def periods_of(zone: str) -> ZonePeriods:
    """Return the periods of an IANA zone; raises ZoneInfoNotFoundError for one that does not exist."""
    here = ZoneInfo(zone)
    first = -2 * _STEP_SECONDS
    begins, begins_locally, offsets = [first], [first - _STEP_SECONDS], [_offset(first, here)]
    for moment in range(first, MAX_TIME_RAW + 2 * _STEP_SECONDS, _STEP_SECONDS):
        after = _offset(moment, here)
        if after != offsets[-1]:
            begun = _beginning(moment - _STEP_SECONDS, moment, here)
            begins.append(begun)
            begins_locally.append(begun + max(offsets[-1], after))
            offsets.append(after)
    return ZonePeriods(begins, begins_locally, offsets)


def _beginning(before: int, after: int, zone: ZoneInfo) -> int:
    """Find the first second of the offset that holds `after` but not `before`."""
    wanted = _offset(after, zone)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(middle, zone) == wanted:
            after = middle
        else:
            before = middle
    return after


def _offset(moment: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(moment, zone).utcoffset() or timedelta()
    return offset // timedelta(seconds=1)
