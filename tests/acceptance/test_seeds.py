"""Some seeds of the oracle on every change; `make oracle SEEDS=200` plays many."""

from __future__ import annotations

import pytest
from oracle.report import story
from oracle.rounds import Oracle
from oracle.schedule import draw_schedule, read_schedule

pytestmark = pytest.mark.timeout(600)

# Between them: kills and restarts of every process, all three networks, Redis and PostgreSQL out of order.
SEEDS = (1, 9, 16)
# Schedules that failed once, each with what was found.
FAILED_ONCE = {
    "a failed recording job, because Redis cut the connection while a worker began or ended it": (
        "5.0s 155/s receiver-terminated@1.24+0.00#7 redis-killed@1.60+0.61#4 redis-requests-cut@2.72+1.74#71"
    ),
    "a failed CDR job, from the same cause": (
        "7.9s 191/s redis-disk-full@0.83+0.64#81 postgres-answers-cut@3.10+0.75#27 redis-killed@3.47+2.87#57 "
        "redis-terminated@3.51+0.87#91"
    ),
    "recordings pending for ever, because Redis lost their jobs after the outbox had forgotten them (seed 57)": (
        "5.0s 180/s cdrs-locked@0.50+2.00#0 redis-without-aof@2.30+2.40#0 redis-killed@2.90+1.00#0"
    ),
}


def test_nothing_acknowledged_is_lost_under_the_faults_of_some_seeds(oracle: Oracle) -> None:
    for seed in SEEDS:
        played = oracle.play(f"seed {seed}", draw_schedule(seed), seed)
        assert not played.findings, story(played, oracle.product.logs)


@pytest.mark.parametrize("found", FAILED_ONCE)
def test_a_schedule_that_failed_once_does_not_fail_again(oracle: Oracle, found: str) -> None:
    played = oracle.play(found, read_schedule(FAILED_ONCE[found]), 0)
    assert not played.findings, story(played, oracle.product.logs)
