"""The promises of docs/reliability.md that have a name, each on the whole product under load."""

from __future__ import annotations

import signal

import psycopg
import pytest
import redis
from oracle.driver import Driver
from oracle.processes import send
from oracle.product import Product, wait_for
from oracle.report import line, story
from oracle.rounds import Oracle, Round, refusals
from oracle.schedule import read_schedule
from oracle.traffic import Traffic

pytestmark = pytest.mark.timeout(600)

RECOVERY_SECONDS = 30.0


def assert_all_is_well(played: Round, product: Product) -> None:
    assert not played.findings, story(played, product.logs)
    assert played.ledger.count("acked") > 0, line(played)


def test_the_batch_of_a_killed_worker_is_rows_within_30_seconds_though_the_other_worker_was_idle(
    oracle: Oracle,
) -> None:
    product = oracle.product

    def kill_a_worker_in_mid_batch(driver: Driver, traffic: Traffic) -> None:
        with psycopg.connect(product.database_url) as blocker:
            blocker.execute("LOCK TABLE cdr.cdrs IN SHARE MODE")
            driver.deliver(traffic.array(500))
            wait_for(lambda: waits_for_a_lock(product), 60, "no worker loads")
            wait_for(lambda: busy_workers(product), 60, "no worker says that it is busy")
            send(busy_workers(product)[0], signal.SIGKILL)

    played = oracle.play_by_hand("worker killed in mid-batch", kill_a_worker_in_mid_batch)

    assert_all_is_well(played, product)
    assert played.settle_seconds < RECOVERY_SECONDS, line(played)


def busy_workers(product: Product) -> list[int]:
    """Return the process ids of the workers that say that they are busy, as one does in its lease's first renewal."""
    with redis.Redis.from_url(product.redis_url) as connection:
        told = [connection.hmget(key, ("state", "pid")) for key in connection.smembers("rq:workers")]
    return [int(pid) for state, pid in told if state == b"busy"]


def waits_for_a_lock(product: Product) -> bool:
    with psycopg.connect(product.database_url) as connection:
        waiting = connection.execute(
            "SELECT FROM pg_stat_activity WHERE application_name = 'cdr worker' AND wait_event_type = 'Lock'"
        )
        return waiting.fetchone() is not None


def test_postgres_away_for_15_seconds_fails_no_job(oracle: Oracle) -> None:
    played = oracle.play("PostgreSQL away", read_schedule("17.0s 150/s postgres-fast@1.00+15.00#0"), 0)

    assert_all_is_well(played, oracle.product)
    assert [finding.about for finding in refusals(played.ledger)] == []
    assert played.settle_seconds < RECOVERY_SECONDS, line(played)


def test_nothing_acknowledged_is_lost_when_everything_is_killed_at_once(oracle: Oracle) -> None:
    schedule = "6.0s 150/s tree-killed@2.50+1.00#0 redis-killed@2.50+1.00#0 postgres-killed@2.50+1.00#0"

    assert_all_is_well(oracle.play("everything killed", read_schedule(schedule), 0), oracle.product)
