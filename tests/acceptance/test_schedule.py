"""Schedules: the same for the same seed, and what is printed is what is read."""

from __future__ import annotations

import pytest
from oracle.faults import KINDS
from oracle.schedule import draw_schedule, read_schedule
from oracle.traffic import ACCOUNTS, Traffic

SEEDS = range(1, 201)


def test_a_seed_is_the_same_schedule_every_time() -> None:
    assert draw_schedule(17) == draw_schedule(17)
    assert draw_schedule(17) != draw_schedule(18)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_schedule_is_read_as_it_was_written(seed: int) -> None:
    assert str(read_schedule(str(draw_schedule(seed)))) == str(draw_schedule(seed))


def test_200_seeds_meet_every_kind_of_fault() -> None:
    assert {fault.kind for seed in SEEDS for fault in draw_schedule(seed).faults} == set(KINDS)


def test_every_fault_ends_before_its_round() -> None:
    for schedule in map(draw_schedule, SEEDS):
        assert all(fault.at + fault.seconds <= schedule.seconds + 0.1 for fault in schedule.faults)


@pytest.mark.parametrize("line", ["5s 100/s no-such-fault@1+1#1", "5s 100/s redis-killed", "5s"])
def test_what_is_no_schedule_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"no fault|not enough"):
        read_schedule(line)


def test_traffic_has_everything_that_a_seed_is_to_send() -> None:
    traffic = Traffic(3, "-mark", "http://127.0.0.1:1")
    posts = [next(traffic) for _ in range(2000)]
    identities = [sent.identity for post in posts for sent in post.cdrs]

    assert {post.account for post in posts} == set(ACCOUNTS)
    assert {post.body[:1] for post in posts} == {b"{", b"[", b"<", b"c"}
    assert len(set(identities)) < len(identities)
    assert any(not post.cdrs for post in posts)
    assert any(len(post.cdrs) > 1 for post in posts)
    assert all(identity.call_id.endswith("-mark") for identity in identities)


def test_a_seed_is_the_same_traffic_every_time() -> None:
    first, second = (Traffic(3, "-mark", "http://127.0.0.1:1") for _ in range(2))
    assert [next(first) for _ in range(300)] == [next(second) for _ in range(300)]
