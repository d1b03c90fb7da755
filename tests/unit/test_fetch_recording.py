"""The schedule of attempts for a recording that is not there yet."""

from __future__ import annotations

from worker.fetch_recording import next_delay


def test_attempts_become_rarer_and_end_after_the_tenth() -> None:
    minute, hour = 60, 3600

    delays = [next_delay(attempts) for attempts in range(1, 11)]

    assert [delay and delay.total_seconds() for delay in delays] == [
        10, 30, minute, 5 * minute, 15 * minute, hour, 4 * hour, 12 * hour, 24 * hour, None,
    ]  # fmt: skip
