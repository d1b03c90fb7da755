"""Simulated calls in the order in which they end, each as the list of its CDRs; the same again for the same seed."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from functools import lru_cache
from time import gmtime, strftime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from cdr.simulate.draws import Weighted
from cdr.simulate.fields import write_fields
from cdr.simulate.scenarios import draw_call

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdr.simulate.fields import Fields
    from cdr.simulate.legs import Leg

# The evening before Israel sets its clocks back: the hour that comes twice is in every longer run.
DEFAULT_START = datetime(2026, 10, 24, 18, 0, tzinfo=UTC)
DEFAULT_CALLS_AN_HOUR = 600.0
# The mean number of CDRs in a call: what turns a rate of CDRs into a rate of calls.
CDRS_A_CALL = 1.17
_ISRAEL = ZoneInfo("Asia/Jerusalem")
_ID_SHAPES = Weighted({"dated": 82, "dashed": 12, "undated": 4, "counted": 2})


class CallFactory:
    """An endless stream of calls.

    `seed` and `start` decide every byte. `start` is when the first calls end (aware, or naive for UTC); calls follow
    each other at random, `calls_an_hour` of them on average. `recordings_base` is the address before each
    recording's file name.
    """

    def __init__(
        self,
        seed: int,
        start: datetime | None = None,
        recordings_base: str = "http://recordings.invalid",
        calls_an_hour: float = DEFAULT_CALLS_AN_HOUR,
    ) -> None:
        start = start or DEFAULT_START
        self._rng = random.Random(seed)  # noqa: S311 - a play that must repeat, no secrets
        self._now = (start if start.tzinfo else start.replace(tzinfo=UTC)).timestamp()
        self._recordings_base = recordings_base.rstrip("/")
        self._calls_a_second = calls_an_hour / 3600

    def __iter__(self) -> Iterator[list[Fields]]:
        """Go on with the stream where it is."""
        return self

    def __next__(self) -> list[Fields]:
        """Make the CDRs of the next call."""
        self._now += self._rng.expovariate(self._calls_a_second)
        legs = draw_call(self._rng)
        # The provider sends a call when it has ended, so it began as long ago as it took.
        began = int(self._now) - max(leg.ends_after_seconds for leg in legs)
        ids: list[str] = []
        cdrs = []
        for leg in legs:
            time = wall_clock(began + leg.after_seconds)
            ids.append(ids[0] if ids and leg.follows is None else call_id(self._rng, time))
            cdrs.append(self._write(leg, ids, time))
        return cdrs

    def _write(self, leg: Leg, ids: list[str], time: int) -> Fields:
        fields = write_fields(self._rng, leg, ids[-1], time, self._recordings_base)
        if leg.follows is not None:
            fields["OriginalivrUniqueID"] = ids[leg.follows]
        return fields


def wall_clock(epoch_seconds: int) -> int:
    """Turn an instant into what the provider sends as `time`: Israel's wall clock, in seconds as if it were UTC."""
    return epoch_seconds + _offset_seconds(epoch_seconds // 3600)


@lru_cache(maxsize=1024)
def _offset_seconds(epoch_hour: int) -> int:
    """Look up Israel's distance from UTC, which only ever changes at a full hour."""
    offset = datetime.fromtimestamp(epoch_hour * 3600, _ISRAEL).utcoffset()
    return int(offset.total_seconds()) if offset else 0


def call_id(rng: random.Random, time: int) -> str:
    """Make a new call id in one of the provider's shapes; a date in it is up to three seconds before `time`."""
    shape = _ID_SHAPES.draw(rng)
    tail = f"{rng.getrandbits(64):016x}"
    if shape == "undated":
        return f"{rng.getrandbits(64):016x}{tail}"
    if shape == "counted":
        return f"vc-{tail[:8]}.{int(tail[8:], 16)}"
    date = strftime("%Y%m%d%H%M%S", gmtime(time - int(rng.random() * 4)))
    return f"{date}{tail}" if shape == "dated" else f"{date}{tail[:8]}-{tail[8:]}"
