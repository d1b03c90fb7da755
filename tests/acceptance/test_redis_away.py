"""Redis away under load: every post is acknowledged all the same, and is a row soon after its return."""

from __future__ import annotations

import pytest
from oracle.report import line, story
from oracle.rounds import Oracle
from oracle.schedule import redis_away

# `make oracle` lets it be away for a minute.
AWAY_SECONDS = 10.0
RETURN_SECONDS = 30.0


@pytest.mark.timeout(600)
def test_every_post_is_acknowledged_while_redis_is_away_and_a_row_within_30_seconds_of_its_return(
    oracle: Oracle,
) -> None:
    played = oracle.play("Redis away", redis_away(AWAY_SECONDS), 0, all_acked=True)

    assert not played.findings, story(played, oracle.product.logs)
    assert played.settle_seconds < RETURN_SECONDS, line(played)
