"""One leg of a simulated call, before it gets its time, its id and the provider's field names."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cdr.simulate.organisation import NO_QUEUE, NOBODY, AcdQueue, Extension
from cdr.simulate.outcomes import Seconds, draw_seconds, draw_status

if TYPE_CHECKING:
    import random

    from cdr.simulate.parties import Party


class Leg(NamedTuple):
    """Who spoke with whom in one CDR, and for how long.

    `after_seconds` is its start behind the start of the call. `follows` is the place, in the call, of the leg whose
    id OriginalivrUniqueID names; a leg that follows none shares the id of the call.
    """

    call_type: str
    status: str
    seconds: Seconds
    caller: Party
    target: Party
    from_extension: Extension = NOBODY
    to_extension: Extension = NOBODY
    did: str = ""
    queue: AcdQueue = NO_QUEUE
    after_seconds: int = 0
    follows: int | None = None

    @property
    def ends_after_seconds(self) -> int:
        """The end of the leg behind the start of the call."""
        return self.after_seconds + sum(self.seconds)


def draw_leg(rng: random.Random, call_type: str, caller: Party, target: Party, status: str | None = None) -> Leg:
    """Draw how a leg of this type ends, unless `status` says so, and how long it takes."""
    status = status or draw_status(rng, call_type)
    return Leg(call_type, status, draw_seconds(rng, call_type, status), caller, target)
