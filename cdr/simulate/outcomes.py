"""How simulated calls end: which statuses each call type meets, how often, and how long such a call takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cdr.simulate.draws import Weighted, skewed_seconds

if TYPE_CHECKING:
    import random
    from collections.abc import Callable


class Seconds(NamedTuple):
    """The stretches of one leg, in whole seconds: waiting in the ACD queue, ringing, talking."""

    wait: int
    ring: int
    talk: int


# What the provider calls error types: rare on every kind of dialled call.
_ERRORS = {"CONGESTION": 1.2, "CHANUNAVAIL": 1.0, "INVALIDARGS": 0.3, "SSWPREAUTH": 0.5}
_DIALLED = {"ANSWER": 68, "NOANSWER": 14, "BUSY": 6, "CANCEL": 8} | _ERRORS
_TO_EXTENSION = {"ANSWER": 80, "NOANSWER": 10, "BUSY": 3, "CANCEL": 5, "CHANUNAVAIL": 2}

_STATUSES = {
    "Incoming Call": Weighted(
        {"ANSWER": 66, "NOANSWER": 11, "CANCEL": 6, "BUSY": 3, "VOEND": 6, "TE": 3, "NOTDIALED": 3, "CHANUNAVAIL": 2}
    ),
    "Queue": Weighted({"ANSWER": 76, "ABANDONE": 17, "TIMEOUT": 3, "EXIT": 2, "FULL": 1, "JOINEMPTY": 1}),
    "Extension Outgoing": Weighted(_DIALLED | {"NOTDIALED": 1}),
    "CC": Weighted(_DIALLED),
    "Click2Call leg1": Weighted(_TO_EXTENSION),
    "Click2Call leg2": Weighted(_DIALLED | {"NOTCALLED": 5}),
    "VoiceMail": Weighted({"VOICEMAIL": 85, "ANSWER": 15}),
    "Callference": Weighted({"ANSWER": 90, "NOANSWER": 10}),
    "XferCDR": Weighted(_TO_EXTENSION),
    "ProductiveCall Leg1": Weighted(_TO_EXTENSION),
    "ProductiveCall Leg2": Weighted(_DIALLED | {"VOICEMAIL": 4}),
    "Scrubber": Weighted(_DIALLED),
    "Click 2 IVR": Weighted({"ANSWER": 55, "NOANSWER": 25, "BUSY": 10} | _ERRORS),
    "Click 2 IVR Incoming": Weighted({"ANSWER": 60, "VOEND": 25, "TE": 15}),
    "Click 2 Queue Incoming": Weighted({"ANSWER": 75, "ABANDONE": 20, "TIMEOUT": 5}),
    "FaxCdr": Weighted({"ANSWER": 80, "BUSY": 15, "CONGESTION": 5}),
    "Attended CDR leg1": Weighted({"ANSWER": 100}),
    "Attended CDR leg2": Weighted({"ANSWER": 100}),
    "Auto forward": Weighted(_DIALLED),
}
QUEUED_TYPES = frozenset({"Queue", "Click 2 Queue Incoming"})

# Statuses of calls in which nothing rang and nobody waited have no entry.
_RINGS: dict[str, Callable[[random.Random], int]] = {
    "ANSWER": lambda rng: skewed_seconds(rng, 8, 45),
    "VOICEMAIL": lambda rng: 20 + int(rng.random() * 10),
    "NOANSWER": lambda rng: 20 + int(rng.random() * 25),
    "CANCEL": lambda rng: skewed_seconds(rng, 9, 40),
    "BUSY": lambda rng: 1 + int(rng.random() * 4),
}
_TALKS: dict[str, Callable[[random.Random], int]] = {
    "ANSWER": lambda rng: skewed_seconds(rng, 95, 3600),
    "VOICEMAIL": lambda rng: skewed_seconds(rng, 20, 120),
    "VOEND": lambda rng: skewed_seconds(rng, 12, 90),
    "TE": lambda rng: 10 + int(rng.random() * 30),
}
_WAITS: dict[str, Callable[[random.Random], int]] = {
    "ANSWER": lambda rng: skewed_seconds(rng, 25, 600),
    "ABANDONE": lambda rng: skewed_seconds(rng, 50, 900),
    "EXIT": lambda rng: skewed_seconds(rng, 60, 900),
    "TIMEOUT": lambda _rng: 300,
}


def draw_status(rng: random.Random, call_type: str) -> str:
    """Draw how a call of this type ends, in the provider's spelling."""
    return _STATUSES[call_type].draw(rng)


def draw_seconds(rng: random.Random, call_type: str, status: str) -> Seconds:
    """Draw how long a call of this type and status waits, rings and talks."""
    return Seconds(
        _stretch(rng, _WAITS, status) if call_type in QUEUED_TYPES else 0,
        _stretch(rng, _RINGS, status),
        _stretch(rng, _TALKS, status),
    )


def _stretch(rng: random.Random, table: dict[str, Callable[[random.Random], int]], status: str) -> int:
    draw = table.get(status)
    return draw(rng) if draw else 0
