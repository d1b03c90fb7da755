"""When a call began: the provider's `time` is a wall clock or a true epoch, and the call id tells which.

The provider documents `time` as epoch seconds "in the account's time zone": the local wall clock, written
as if it were UTC. Some accounts get a true epoch. Most call ids begin with the local date and time.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

_TOLERANCE = timedelta(minutes=10)
# Hours are bounded here because newer Pythons read 24:00 as midnight of the next day.
_DATE_IN_ID = re.compile(r"(20[0-9]{6})((?:[01][0-9]|2[0-3])[0-9]{4})")


class Clock(NamedTuple):
    """The start of a call and how it was found.

    `started_at` is aware, in UTC. `rule` is local or utc (the id's date agreed), assumed_local or assumed_utc
    (nothing to compare), forced_local or forced_utc (the account's setting), id (no time: the id's date) or
    received (neither: the time of receipt).
    """

    started_at: datetime
    rule: str


def read_clock(time_raw: int | None, call_id: str, received_at: datetime, zone: str, rule: str, fallback: str) -> Clock:
    """Find out when a call began.

    `time_raw` is whole seconds, 1 to 4102444800, None when there is no usable one; `received_at` is aware;
    `zone` is an IANA name. `rule` is auto, local or utc; `fallback`, local or utc, decides for auto when the
    id does not. Raise ZoneInfoNotFoundError for a zone that does not exist.
    """
    if time_raw is None:
        return _clock_without_time(call_id, received_at, zone)
    as_epoch = datetime.fromtimestamp(time_raw, UTC)
    if rule == "auto":
        agreed = _agreed_reading(as_epoch, call_id, zone)
        reading, name = (agreed, agreed) if agreed else (fallback, f"assumed_{fallback}")
    else:
        reading, name = rule, f"forced_{rule}"
    return Clock(as_epoch if reading == "utc" else _local_to_utc(as_epoch, zone), name)


def _clock_without_time(call_id: str, received_at: datetime, zone: str) -> Clock:
    wall_clock = _date_in_id(call_id)
    if wall_clock is None:
        return Clock(received_at.astimezone(UTC), "received")
    return Clock(_local_to_utc(wall_clock, zone), "id")


def _agreed_reading(as_epoch: datetime, call_id: str, zone: str) -> str | None:
    """Tell by the id's date whether `time` is a wall clock (local) or an epoch (utc), None if it fits neither."""
    wall_clock = _date_in_id(call_id)
    if wall_clock is None:
        return None
    difference = wall_clock - as_epoch
    if abs(difference) < _TOLERANCE:
        return "local"
    offset = as_epoch.astimezone(ZoneInfo(zone)).utcoffset() or timedelta()
    return "utc" if abs(difference - offset) <= _TOLERANCE else None


def _date_in_id(call_id: str) -> datetime | None:
    """Read the wall clock at the beginning of a call id; its tzinfo UTC means nothing but comparability."""
    match = _DATE_IN_ID.match(call_id)
    if match is None:
        return None
    try:
        return datetime.fromisoformat(f"{match[1]}T{match[2]}Z")
    except ValueError:
        return None


def _local_to_utc(wall_clock: datetime, zone: str) -> datetime:
    # A zone looks at the fields alone. With fold 0, which a wall clock has as it comes, an hour that comes twice is its
    # first, and an hour that never was has the offset before it.
    return wall_clock - (ZoneInfo(zone).utcoffset(wall_clock) or timedelta())
