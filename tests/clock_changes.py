"""Days on which clocks are changed, written down by hand: what the clock rule is compared with, not the zone database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple


class Change(NamedTuple):
    """One change of a zone's clocks: its instant, and the minutes that the wall clock is ahead of UTC before and after."""

    zone: str
    at: str
    before: int
    after: int

    @property
    def instant(self) -> datetime:
        return datetime.fromisoformat(self.at)

    def wall_clock(self, instant: datetime) -> datetime:
        """Tell what the clocks show, written as if it were UTC."""
        return instant + timedelta(minutes=self.before if instant < self.instant else self.after)

    def instants(self, wall_clock: datetime) -> list[datetime]:
        """Tell when the clocks show this: once, in autumn twice, in spring never."""
        readings = (wall_clock - timedelta(minutes=minutes) for minutes in (self.before, self.after))
        return sorted({instant for instant in readings if self.wall_clock(instant) == wall_clock})

    def start(self, wall_clock: datetime) -> datetime:
        """Tell which instant is meant: the first, and where there is none that of the offset before the change."""
        return next(iter(self.instants(wall_clock)), wall_clock - timedelta(minutes=self.before))

    def minutes_around(self) -> list[datetime]:
        """Return every minute from three hours before the change to three after, in UTC."""
        return [self.instant + timedelta(minutes=minutes) for minutes in range(-180, 181)]

    def wall_clocks_around(self) -> list[datetime]:
        """Return every minute that a clock could show about the change, also those that none shows."""
        at_the_change = self.instant + timedelta(minutes=self.before)
        return [at_the_change + timedelta(minutes=minutes) for minutes in range(-180, 181)]


CHANGES = [
    # At 02:00 to 03:00, and back from 02:00 to 01:00.
    Change("Asia/Jerusalem", "2024-03-29T00:00:00+00:00", 120, 180),
    Change("Asia/Jerusalem", "2024-10-26T23:00:00+00:00", 180, 120),
    Change("America/New_York", "2024-03-10T07:00:00+00:00", -300, -240),
    Change("America/New_York", "2024-11-03T06:00:00+00:00", -240, -300),
    # At midnight: the first hour of the day is left out, or the last one of the day before comes again.
    Change("Africa/Cairo", "2024-04-25T22:00:00+00:00", 120, 180),
    Change("Africa/Cairo", "2024-10-31T21:00:00+00:00", 180, 120),
    # South of the equator, at midnight.
    Change("America/Sao_Paulo", "2018-11-04T03:00:00+00:00", -180, -120),
    Change("America/Sao_Paulo", "2018-02-18T02:00:00+00:00", -120, -180),
    # Half an hour, south of the equator.
    Change("Australia/Lord_Howe", "2024-10-05T15:30:00+00:00", 630, 660),
    Change("Australia/Lord_Howe", "2024-04-06T15:00:00+00:00", 660, 630),
    # No change: what others do in that night is nothing here.
    Change("Asia/Kathmandu", "2024-03-29T00:00:00+00:00", 345, 345),
    Change("Asia/Tokyo", "2024-10-26T23:00:00+00:00", 540, 540),
    Change("UTC", "2024-10-26T23:00:00+00:00", 0, 0),
]


def named(change: Change) -> str:
    return f"{change.zone}-{change.at[:10]}"


def seconds(wall_clock: datetime) -> int:
    """Return the `time` that the provider sends for a wall clock: written as if it were UTC."""
    return int(wall_clock.astimezone(UTC).timestamp())
