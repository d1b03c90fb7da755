"""A worker that loads CDRs starts with what it needs and no more, and stays small."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from loading import delivery, leg
from running import loaded, until

from common.job_queue import CDRS, LOAD_CDRS, NewJob
from common.queue_format import queue_key
from worker.outbox import enqueue

REPOSITORY = Path(__file__).parents[2]
NUMBERS = REPOSITORY / "tests" / "unit" / "numbers.csv"
MOST_BYTES = 150 * 1024 * 1024

# What other processes need, or nobody: the receiver's server, the recorder's HTTP and store, and the tables of places,
# carriers and time zones, of which the first alone takes seconds and more than all the memory that is allowed.
NOT_NEEDED = {
    "api",
    "boto3",
    "botocore",
    "fastapi",
    "obstore",
    "phonenumbers.carrier",
    "phonenumbers.carrierdata",
    "phonenumbers.geocoder",
    "phonenumbers.geodata",
    "phonenumbers.timezone",
    "phonenumbers.tzdata",
    "prometheus_client",
    "rich",
    "starlette",
    "tinytag",
    "urllib3",
    "uvicorn",
}

# Runs a command of ours and tells at its end what it has imported, and how much memory it took at most. The kernel counts
# that anew for each program; what `resource` tells may be its parent's.
REPORTING = """
import atexit, json, re, sys

def report():
    most = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())
    print(json.dumps({"modules": sorted(sys.modules), "bytes": int(most[1]) * 1024}))

atexit.register(report)
from cdr.__main__ import main
main()
"""

# Everything that stands between the command line and the first job, without its servers.
WORKER = "import cdr.__main__, cdr.processes, worker.queue_worker, worker.context"
LIBRARIES = "import psycopg, rq, phonenumbers"
TELL_CPU = "; import time; print(time.process_time())"


@pytest.fixture
def connection(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def a_number_of_each_country() -> list[str]:
    with NUMBERS.open(encoding="utf-8", newline="") as file:
        by_country = {row["country_code"]: row["e164"] for row in csv.DictReader(file) if row["country_code"]}
    return list(by_country.values())


def test_a_worker_that_has_loaded_numbers_of_all_countries_is_small_and_has_imported_nothing_heavy(
    connection: Any, database_url: str, redis_url: str
) -> None:
    numbers = a_number_of_each_country()
    assert len(numbers) >= 60
    batch = [delivery(leg(f"c{place}", caller=number)) for place, number in enumerate(numbers)]
    enqueue(connection, [NewJob(CDRS, LOAD_CDRS, (batch,), "load")])
    environment = {**os.environ, "CDR_DATABASE_URL": database_url, "CDR_REDIS_URL": redis_url}
    with subprocess.Popen(
        [sys.executable, "-c", REPORTING, "worker", "cdrs"],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as worker:
        try:
            until(lambda: len(loaded(database_url)) == len(numbers))
        finally:
            worker.terminate()
        said, _ = worker.communicate(timeout=60)
    assert (worker.returncode, connection.llen(queue_key(CDRS))) == (0, 0)
    report = json.loads(said)
    assert "worker.phone_numbers" in report["modules"]
    assert NOT_NEEDED & set(report["modules"]) == set()
    assert report["bytes"] < MOST_BYTES


def cpu_seconds(statements: str) -> float:
    command = [sys.executable, "-c", statements + TELL_CPU]
    return float(subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout)


def test_a_worker_starts_with_little_more_work_than_its_libraries_do() -> None:
    # One after the other, so that both see the same machine; the least of each is what was disturbed least.
    pairs = [(cpu_seconds(WORKER), cpu_seconds(LIBRARIES)) for _ in range(4)]
    worker, libraries = (min(times) for times in zip(*pairs, strict=True))
    # Settings, logging, the command line and our own modules; the receiver's server alone would be another 1.0.
    assert worker / libraries < 2.7
