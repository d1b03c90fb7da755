"""An account learns so many codes and names and no more, and that is told now and then."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from worker import learning_bounds
from worker.learning_bounds import LearningBounds
from worker.name_timeline import MOST_LEARNED_NAMES, Timeline

NOTHING = Timeline()
ONE = Timeline((1.0,), ("Dana",))
FULL = Timeline(tuple(map(float, range(MOST_LEARNED_NAMES))), ("Dana",) * MOST_LEARNED_NAMES)


@pytest.fixture
def bounds(monkeypatch: pytest.MonkeyPatch) -> LearningBounds:
    monkeypatch.setattr(learning_bounds, "MOST_LEARNED_CODES", 2)
    monkeypatch.setattr(learning_bounds, "MOST_NAMES_OF_ALL_CODES", MOST_LEARNED_NAMES + 1)
    return LearningBounds()


def test_an_account_that_has_its_codes_learns_no_new_one_but_names_of_those_it_has(bounds: LearningBounds) -> None:
    bounds.count("acme", NOTHING, ONE)
    assert bounds.allow("acme", "new", NOTHING)
    bounds.count("acme", NOTHING, ONE)
    assert not bounds.allow("acme", "new", NOTHING)
    assert bounds.allow("acme", "AAAA", ONE)
    assert bounds.allow("other", "new", NOTHING)


def test_an_account_that_has_its_names_learns_nothing_more(bounds: LearningBounds) -> None:
    bounds.count("acme", NOTHING, ONE)
    bounds.count("acme", ONE, FULL)
    assert bounds.allow("acme", "BBBB", NOTHING)
    bounds.count("acme", NOTHING, ONE)
    assert not bounds.allow("acme", "BBBB", ONE)
    assert bounds.allow("other", "BBBB", ONE)


def test_a_code_that_has_its_names_learns_no_more(bounds: LearningBounds) -> None:
    assert not bounds.allow("acme", "AAAA", FULL)


def test_what_is_counted_anew_has_room_again(bounds: LearningBounds) -> None:
    for _ in range(2):
        bounds.count("acme", NOTHING, ONE)
    bounds.recount([("acme", ONE)])
    assert bounds.allow("acme", "new", NOTHING)


def test_a_bound_that_is_met_with_every_call_is_told_now_and_then(
    bounds: LearningBounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    with capture_logs() as lines:
        for _ in range(100):
            bounds.allow("acme", "AAAA", FULL)
        monkeypatch.setattr(learning_bounds, "TELL_SECONDS", 0)
        bounds.allow("acme", "AAAA", FULL)
    assert [(line["account"], line["extension_code"], line["most"]) for line in lines] == [
        ("acme", "AAAA", MOST_LEARNED_NAMES)
    ] * 2
