"""A process may be killed between any two steps: what it had in hand is run elsewhere within 30 s."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from dying import SCENARIOS
from free_ports import free_port
from running import loaded, processes, until

from common.failed_jobs import Filter, list_failed
from common.job_queue import CDRS, intermediate_key, queue_key, scheduled_key
from common.queue_format import lease_key, started_key
from worker.holds import holders_key
from worker.sweep import seen_key

PLACES = (queue_key, intermediate_key, started_key, scheduled_key, lease_key, holders_key)


@pytest.fixture
def connection(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def killed_at_each_step(scenario: str, redis_url: str, database_url: str) -> set[str]:
    """Run a scenario, killed one step later each time, and return the calls that it queued."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("dying.py")), scenario],
        env={**os.environ, "CDR_REDIS_URL": redis_url, "CDR_DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    calls = [line.removeprefix("queued ") for line in done.stdout.splitlines() if line.startswith("queued ")]
    assert len(calls) > 1, "nobody was killed"
    return set(calls)


def failed_calls(connection: redis.Redis) -> set[str]:
    return {call_id for job in list_failed(connection, Filter()) for call_id in job.call_ids}


def left_in_hand(connection: redis.Redis) -> set[str]:
    """Return the places in which a job, or a note of one, is still to be found."""
    noted = {seen_key(CDRS, what) for what in ("taken", "started")}
    return {key for key in {place(CDRS) for place in PLACES} | noted if connection.exists(key)}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_a_killed_process_had_in_hand_is_run_elsewhere_within_30_seconds(
    connection: redis.Redis, redis_url: str, database_url: str, scenario: str
) -> None:
    with psycopg.connect(database_url) as user:
        user.execute("ALTER TABLE cdr.cdrs ADD CONSTRAINT of_a_user CHECK (call_id NOT LIKE 'refused%')")
    calls = killed_at_each_step(scenario, redis_url, database_url)
    with processes(database_url, redis_url) as start:
        start("scheduler")
        start("worker", CDRS)
        until(lambda: loaded(database_url) | failed_calls(connection) == calls, seconds=30)
        if scenario in {"refused", "broken"}:
            assert loaded(database_url) & failed_calls(connection) == set()
        elif scenario not in {"replay", "stock-requeue"}:
            assert failed_calls(connection) == set()
        until(lambda: not left_in_hand(connection))


def test_a_worker_that_is_killed_while_it_puts_jobs_back_loses_none(
    connection: redis.Redis, redis_url: str, database_url: str
) -> None:
    calls = killed_at_each_step("together", redis_url, f"postgresql://127.0.0.1:{free_port()}/none")
    with processes(database_url, redis_url) as start:
        start("scheduler")
        start("worker", CDRS)
        until(lambda: loaded(database_url) == calls, seconds=30)
        until(lambda: not left_in_hand(connection))
    assert failed_calls(connection) == set()
