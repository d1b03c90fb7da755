"""Points in time as people give them, an ISO time or an age such as 2h, and the one form in which they are shown them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_AGE = re.compile(r"([0-9]{1,6})([smhdw])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def read_moment(text: str) -> datetime:
    """Return the moment, aware; an ISO time without an offset is local time. Raises ValueError."""
    try:
        return _read(text.strip())
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(f"{text!r} is neither an ISO time nor an age such as 30m, 2h or 7d") from error


def show_moment(moment: datetime | str) -> str:
    """Write a moment in UTC to the second, with its offset; a text that is no ISO time, such as "never", stays as it is."""
    try:
        known = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        return known.astimezone(UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError):
        return str(moment)


def _read(text: str) -> datetime:
    age = _AGE.fullmatch(text)
    if age is None:
        return datetime.fromisoformat(text).astimezone(UTC)
    return datetime.now(UTC) - timedelta(**{_UNITS[age[2]]: int(age[1])})
