"""Runs `cdr` in the test's own process, and the worker too, against the test's servers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg
import pytest
from worker_context import forget_context

from cdr.main import main
from common.delivery import Delivery
from common.job_queue import CDRS, LOAD_CDRS, NewJob
from common.redis_client import RedisClient, connect
from worker.outbox import enqueue
from worker.queue_worker import CdrWorker

RECEIVED_AT_US = 1_700_000_000_000_000
POISON = "0500000666"


class Done(NamedTuple):
    exit_code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Product:
    """The command line, a worker, Redis and PostgreSQL of one test."""

    def __init__(
        self, redis: RedisClient, database: psycopg.Connection, database_url: str, capsys: Any, monkeypatch: Any
    ) -> None:
        self.redis = redis
        self.database = database
        self.database_url = database_url
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def cdr(self, *arguments: str) -> Done:
        self._monkeypatch.setattr(sys, "argv", ["cdr", *arguments])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(int(ended.value.code or 0), *self._capsys.readouterr())

    def counted(self, *arguments: str) -> int:
        """Run a command that ends well and says nothing but how many, and return how many."""
        done = self.cdr(*arguments, "--json")
        assert (done.exit_code, done.err, list(done.json)) == (0, "", ["count"])
        return int(done.json["count"])

    def worker(self) -> CdrWorker:
        return CdrWorker([CDRS], connection=self.redis)

    def work(self) -> None:
        self.worker().work(burst=True, logging_level="CRITICAL")

    def enqueue(self, *batches: list[Delivery], **options: Any) -> None:
        enqueue(self.redis, [NewJob(CDRS, LOAD_CDRS, (batch,), "load", **options) for batch in batches])

    def query(self, sql: str, *values: Any) -> list[Any]:
        return self.database.execute(sql.encode(), values).fetchall()

    def count(self, table: str) -> int:
        return int(self.query(f"SELECT count(*) FROM {table}")[0][0])

    def refuse_poison(self) -> None:
        self.run(f"ALTER TABLE cdr.cdrs ADD CONSTRAINT no_poison CHECK (caller_number <> '{POISON}') NOT VALID")

    def allow_poison(self) -> None:
        self.run("ALTER TABLE cdr.cdrs DROP CONSTRAINT no_poison")

    def run(self, sql: str, *values: Any) -> None:
        self.database.execute(sql.encode(), values)


@pytest.fixture
def product(
    redis_url: str, database_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Product]:
    monkeypatch.setenv("CDR_REDIS_URL", redis_url)
    monkeypatch.setenv("CDR_DATABASE_URL", database_url)
    # The worker keeps its connections for its process, which here sees one database a test.
    monkeypatch.setattr("worker.context._Kept.context", None)
    # Log lines would go on to this test's standard error after it.
    monkeypatch.setattr("cdr.main.set_up_logging", lambda: None)
    redis = connect(redis_url, timeout_seconds=None)
    with psycopg.connect(database_url, autocommit=True) as database:
        yield Product(redis, database, database_url, capsys, monkeypatch)
    redis.close()
    forget_context()


def delivery(number: int, **fields: Any) -> Delivery:
    sent = {
        "ivruniqueid": f"20231114221320call{number}",
        "type": "Incoming Call",
        "status": "ANSWER",
        "time": 1_699_999_999,
        "caller": "0540000000",
        "target": "0720000000",
        **fields,
    }
    return Delivery(f"{number:032x}", 0, RECEIVED_AT_US, "default", "json", sent)
