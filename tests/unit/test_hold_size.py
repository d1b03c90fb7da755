"""How many CDRs a worker takes at once, after what it has loaded before."""

from __future__ import annotations

import pytest

from worker.hold_size import HOLD_SECONDS, LEAST_CDRS, MOST_CDRS, HoldSize


@pytest.mark.parametrize(
    ("loaded", "seconds", "expected"),
    [
        (3000, 1.0, 3000 * HOLD_SECONDS),
        (1, 0.0, LEAST_CDRS),
        (2000, 0.0, MOST_CDRS),
        (2000, 0.1, MOST_CDRS),
        (2000, 60.0, LEAST_CDRS),
        (0, 5.0, LEAST_CDRS),
    ],
)
def test_it_is_what_was_loaded_in_two_seconds_within_bounds(loaded: int, seconds: float, expected: float) -> None:
    size = HoldSize()
    size.learn(loaded, seconds)
    assert size.cdrs == expected


def test_it_is_small_until_a_load_was_fast_and_after_one_that_failed() -> None:
    size = HoldSize()
    assert size.cdrs == LEAST_CDRS
    size.learn(2000, 0.4)
    assert size.cdrs == MOST_CDRS
    size.learn_failure()
    assert size.cdrs == LEAST_CDRS
