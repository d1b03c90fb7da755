"""Weighted draws, fast enough to make several of them for each simulated call."""

from __future__ import annotations

from bisect import bisect
from itertools import accumulate
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

T = TypeVar("T")


class Weighted(Generic[T]):
    """Values that are drawn as often as their weights say; the weights need not add up to anything."""

    def __init__(self, weights: Mapping[T, float]) -> None:
        self._values = tuple(weights)
        self._steps = tuple(accumulate(weights.values()))[:-1]
        self._total = sum(weights.values())

    def draw(self, rng: random.Random) -> T:
        """Draw one value."""
        return self._values[bisect(self._steps, rng.random() * self._total)]


def skewed_seconds(rng: random.Random, median: float, longest: int) -> int:
    """Draw whole seconds from 1 to `longest`, half of them under `median`, with the long tail that calls have."""
    return min(longest, 1 + int(median * rng.lognormvariate(0.0, 0.9)))
