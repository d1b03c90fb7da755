"""The names that one extension had over time, and what a call that shows one adds to what is known."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple

# An extension that two telephones share, or whose names alternate, must not make a row a call.
MOST_CHANGES = 3
_WITHIN_SECONDS = 86_400.0
# The hours are those that the CDRs say, and so are no bound to a sender who makes them up.
MOST_LEARNED_NAMES = 100


class Timeline(NamedTuple):
    """Each name with the moment from which it holds, in order; moments are seconds since the epoch."""

    starts: tuple[float, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def is_full(self) -> bool:
        """Tell whether nothing more is learned; imported names have no such bound."""
        return len(self.starts) >= MOST_LEARNED_NAMES

    def name_at(self, moment: float) -> str | None:
        """Return the name that held then; None before the first."""
        place = bisect_right(self.starts, moment)
        return self.names[place - 1] if place else None

    def with_name(self, start: float, name: str) -> Timeline:
        """Add a name that holds from `start` on, in the place of one that did so; for many there is `with_names`."""
        place, end = bisect_left(self.starts, start), bisect_right(self.starts, start)
        return Timeline(
            (*self.starts[:place], start, *self.starts[end:]), (*self.names[:place], name, *self.names[end:])
        )

    def with_names(self, rows: Iterable[tuple[float, str]]) -> Timeline:
        """Add names with their starts, in any order, as `with_name` does; what is known is copied once for all of them."""
        by_start = dict(zip(self.starts, self.names, strict=True))
        by_start.update(rows)
        starts = tuple(sorted(by_start))
        return Timeline(starts, tuple(map(by_start.__getitem__, starts)))

    def says(self, moment: float, name: str) -> bool:
        """Tell whether a call at this moment that shows this name is no news.

        Of two names in one moment the one that was learned first stands.
        """
        place = bisect_right(self.starts, moment)
        return place > 0 and (self.names[place - 1] == name or self.starts[place - 1] == moment)

    def after_call(self, moment: float, name: str) -> Timeline:
        """Add that a call at this moment showed this name; returns the same object when that is no news.

        A name holds from the first call that showed it until the first call that showed another, in whatever order the
        calls are learned from. No 24 hours get more than `MOST_CHANGES` names this way, and a timeline that has
        `MOST_LEARNED_NAMES` stays as it is.
        """
        if self.is_full or self.says(moment, name):
            return self
        place = bisect_right(self.starts, moment)
        others = self._without(place) if self.names[place : place + 1] == (name,) else self
        near = bisect_left(others.starts, moment + _WITHIN_SECONDS) - bisect_right(
            others.starts, moment - _WITHIN_SECONDS
        )
        return self if near >= MOST_CHANGES else others.with_name(moment, name)

    def _without(self, place: int) -> Timeline:
        return Timeline(
            (*self.starts[:place], *self.starts[place + 1 :]), (*self.names[:place], *self.names[place + 1 :])
        )
