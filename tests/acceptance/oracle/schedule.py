"""Schedules of faults: drawn from a seed, written as one line, read from one."""

from __future__ import annotations

import random
import re
from typing import NamedTuple

from oracle.faults import KINDS, Fault

# The first moments show that all is well before anything happens.
CALM_SECONDS = 0.4
WINDOW_SECONDS = (5.0, 8.0)
FAULTS = (2, 5)
CDRS_A_SECOND = (100, 200)
# Single faults are mended in many places; what is lost is lost between two of them. Most rounds have such a pair.
COMBINED_SHARE = 0.6
COMBINATIONS = (
    ("redis-without-aof", "redis-killed"),
    ("redis-disk-full", "redis-killed"),
    ("redis-out-of-memory", "redis-killed"),
    ("redis-answers-cut", "redis-killed"),
    ("redis-stalled", "receivers-killed"),
    ("redis-answers-cut", "receivers-killed"),
    ("redis-answers-cut", "workers-killed"),
    ("redis-requests-cut", "workers-killed"),
    ("redis-killed", "workers-killed"),
    ("redis-frozen", "tree-killed"),
    ("cdrs-locked", "workers-killed"),
    ("cdrs-locked", "postgres-killed"),
    ("cdrs-locked", "redis-killed"),
    ("calls-locked", "workers-killed"),
    ("postgres-frozen", "workers-killed"),
    ("postgres-answers-cut", "workers-killed"),
    ("postgres-answers-cut", "redis-killed"),
    ("postgres-read-only", "redis-killed"),
    ("scheduler-frozen", "workers-killed"),
    ("scheduler-frozen", "recorder-killed"),
    ("worker-frozen", "redis-killed"),
    ("receiver-frozen", "redis-killed"),
    ("receiver-answers-cut", "receivers-killed"),
    ("spool-disk-full", "redis-killed"),
    ("redis-killed", "receivers-killed"),
)
_FAULT = re.compile(r"([a-z-]+)@([0-9.]+)\+([0-9.]+)#([0-9]+)")


class Schedule(NamedTuple):
    """What happens in a round: for how long CDRs are posted at which rate, and the faults in the order of their begin."""

    seconds: float
    cdrs_a_second: float
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        """Write it as one line."""
        return " ".join([f"{self.seconds:.1f}s", f"{self.cdrs_a_second:.0f}/s", *map(str, self.faults)])


def redis_away(seconds: float) -> Schedule:
    """Return the schedule of a round in which Redis is killed and stays away for so long."""
    return Schedule(seconds + 2, CDRS_A_SECOND[1], (Fault("redis-killed", 1.0, seconds, 0),))


def draw_schedule(seed: int) -> Schedule:
    """Draw the schedule of a seed."""
    rng = random.Random(f"faults {seed}")
    seconds = rng.uniform(*WINDOW_SECONDS)
    faults = [_draw_fault(rng, rng.choice(sorted(KINDS)), seconds) for _ in range(rng.randint(*FAULTS))]
    if rng.random() < COMBINED_SHARE:
        faults += _draw_combination(rng, seconds)
    ordered = tuple(sorted(faults, key=lambda fault: fault.at))
    return Schedule(round(seconds, 1), rng.randint(*CDRS_A_SECOND), ordered)


def _draw_combination(rng: random.Random, seconds: float) -> list[Fault]:
    """Draw two faults of which the second begins while the first lasts, or right after it."""
    first, second = rng.choice(COMBINATIONS)
    outer = _draw_fault(rng, first, seconds)
    inner = _draw_fault(rng, second, seconds)
    begins = min(outer.at + outer.seconds * rng.random() + 0.05, seconds - inner.seconds)
    return [outer, inner._replace(at=round(begins, 2))]


def _draw_fault(rng: random.Random, kind: str, seconds: float) -> Fault:
    longest = KINDS[kind].longest_seconds
    lasts = round(rng.uniform(longest / 5, longest), 2)
    return Fault(kind, round(rng.uniform(CALM_SECONDS, seconds - lasts), 2), lasts, rng.randrange(100))


def read_schedule(line: str) -> Schedule:
    """Read a schedule that was written as one line; ValueError when it is none."""
    seconds, rate, *faults = line.split()
    return Schedule(float(seconds.removesuffix("s")), float(rate.removesuffix("/s")), tuple(map(_read_fault, faults)))


def _read_fault(text: str) -> Fault:
    match = _FAULT.fullmatch(text)
    if match is None or match[1] not in KINDS:
        raise ValueError(f"no fault: {text}")
    return Fault(match[1], float(match[2]), float(match[3]), int(match[4]))
