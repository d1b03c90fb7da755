"""Talk and ringing, from the several fields that say how long they were."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from common.cdr import Cdr
from worker.durations import set_durations


def durations(*, includes_wait: bool = False, **values: Any) -> Cdr:
    cdr = Cdr("acme", "c", datetime(2026, 1, 1, tzinfo=UTC), {}, **values)
    set_durations(cdr, includes_wait)
    return cdr


def test_talk_is_the_duration() -> None:
    assert durations(duration_seconds=20, queue_wait_seconds=15).talk_seconds == 20


def test_the_actual_talk_wins() -> None:
    assert durations(duration_seconds=20, actual_talk_seconds=0).talk_seconds == 0


def test_ringing_is_the_dial_time() -> None:
    assert durations(dial_seconds=3).ring_seconds == 3


def test_the_actual_ringing_wins() -> None:
    assert durations(dial_seconds=3, actual_ring_seconds=0).ring_seconds == 0


def test_what_was_not_sent_is_not_known() -> None:
    cdr = durations()
    assert (cdr.talk_seconds, cdr.ring_seconds) == (None, None)


@pytest.mark.parametrize(
    "values",
    [
        {"call_type": "Queue"},
        {"call_type": "Click 2 Queue Incoming"},
        {"call_type": "Incoming Call", "acd_queue_id": 7},
        {"acd_queue_name": "Sales"},
    ],
)
def test_the_wait_in_an_acd_queue_is_taken_off_where_the_account_says_so(values: dict[str, Any]) -> None:
    cdr = durations(includes_wait=True, duration_seconds=20, queue_wait_seconds=15, **values)
    assert cdr.talk_seconds == 5


def test_talk_is_never_negative() -> None:
    cdr = durations(includes_wait=True, duration_seconds=20, queue_wait_seconds=25, call_type="Queue")
    assert cdr.talk_seconds == 0


@pytest.mark.parametrize("values", [{"call_type": "Incoming Call"}, {"call_type": "Unheard of"}, {}])
def test_a_wait_outside_an_acd_queue_stays(values: dict[str, Any]) -> None:
    cdr = durations(includes_wait=True, duration_seconds=20, queue_wait_seconds=15, **values)
    assert cdr.talk_seconds == 20


@pytest.mark.parametrize("wait", [None, 0])
def test_without_a_wait_the_duration_stays(wait: int | None) -> None:
    cdr = durations(includes_wait=True, duration_seconds=20, queue_wait_seconds=wait, call_type="Queue")
    assert cdr.talk_seconds == 20
