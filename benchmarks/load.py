"""CDRs a second from a backlog in Redis to rows, beside the bare writing of such rows, and beside the textbook.

Ours enriches, merges second deliveries and folds calls; after each measurement every CDR has to be a row, by its identity.
"""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from rq import Queue

from benchmarks.backlog import Backlog, backlog, put
from benchmarks.bench import Bench, Server, is_at_work
from benchmarks.figures import Goal, Part, Sample, interleaved
from benchmarks.processes import Failed, cpu_seconds, finished, process, wait_until
from benchmarks.rivals import simple_table
from benchmarks.traffic import simulated_posts
from common.delivery import Delivery
from common.job_queue import CDRS, COUNTERS_KEY, JobSerializer, NewJob, intermediate_key, queue_key
from common.queue_format import lease_key
from common.redis_client import RedisClient, connect
from common.settings import AccountDefaults
from worker.accounts import Accounts
from worker.extension_directory import ExtensionDirectory
from worker.gather import gather
from worker.load_parts import PART_CDRS
from worker.pipeline import Knowledge
from worker.rows import make_row

WAITING = 200_000
# It does some dozens a second.
TEXTBOOK_WAITING = 200
SENDERS = 64
LONGEST_SECONDS = 1800.0
OURS, TWO = "ours, one worker", "ours, two workers"
COPY, TEXTBOOK = "COPY and INSERT of prepared rows", "rq worker, an INSERT a job"
UNITS = {"rate": "CDR/s", "cpu": "CPU s for 1,000", "unfolded": "calls left to the scheduler"}
GOALS = [
    Goal("rate beside COPY and INSERT of prepared rows", "rate", OURS, COPY, at_least=0.6),
    Goal("rate beside the textbook", "rate", OURS, TEXTBOOK, at_least=200),
    Goal("rate of two workers beside that of one", "rate", TWO, OURS),
]
TEXTBOOK_QUEUE = "textbook"
_ASIDE = "aside"
_TABLES = "cdr.cdrs, cdr.deliveries, cdr.calls, cdr.call_links, cdr.recordings, cdr.outbox, cdr.extensions, rival.cdrs"


def measure(bench: Bench) -> Iterator[Part]:
    """Measure with the same backlog each time, into tables that are emptied before."""
    waiting = backlog(max(1000, round(WAITING * bench.scale)), 1, SENDERS)
    bench.tell(f"{waiting.deliveries:,} deliveries of {len(waiting.identities):,} CDRs in {len(waiting.jobs):,} jobs")
    rows = bench.folder / "rows.pickle"
    rows.write_bytes(pickle.dumps(_prepared(waiting.jobs)))
    with ExitStack() as stack:
        valkey, postgres = stack.enter_context(bench.valkey()), stack.enter_context(bench.postgres())
        redis = stack.enter_context(connect(valkey.url))
        connection = stack.enter_context(psycopg.connect(postgres.url, autocommit=True))
        for statement in simple_table.CREATE:
            connection.execute(statement)
        run = _Run(bench, valkey, postgres, redis, connection, waiting)
        contenders: dict[str, Callable[[int], Sample]] = {
            OURS: partial(run.ours, 1),
            TWO: partial(run.ours, 2),
            COPY: partial(run.copied, rows),
            TEXTBOOK: run.textbook,
        }
        samples = interleaved(bench.rounds, contenders, bench.tell)
    about = (
        f"CDRs a second from the worker's readiness to the last row, with {len(waiting.identities):,} CDRs waiting as a receiver "
        f"with {SENDERS} senders queues them; the textbook has fewer. CPU seconds are those of the workers, Redis and PostgreSQL."
    )
    yield Part("load", about, UNITS, samples, GOALS)


class _Run:
    """The servers, and what waits."""

    def __init__(
        self,
        bench: Bench,
        valkey: Server,
        postgres: Server,
        redis: RedisClient,
        connection: psycopg.Connection[Any],
        waiting: Backlog,
    ) -> None:
        self._bench, self._valkey, self._postgres = bench, valkey, postgres
        self._redis, self._connection, self._waiting = redis, connection, waiting

    def ours(self, workers: int, _number: int) -> Sample:
        """Load the backlog with our workers, all enrichment on."""
        self._empty()
        put(self._redis, self._waiting.jobs)
        self._redis.rename(queue_key(CDRS), _ASIDE)
        with ExitStack() as stack:
            pids = [stack.enter_context(self._bench.worker(self._valkey, self._postgres)) for _ in range(workers)]
            cpu, began = self._let_begin(CDRS, [*pids, self._valkey.pid, self._postgres.pid])
            wait_until(self._all_loaded, "the load of the backlog", LONGEST_SECONDS)
            seconds = time.monotonic() - began
            wait_until(self._all_finished, "the end of the last job")
            cpu = self._cpu([*pids, self._valkey.pid, self._postgres.pid]) - cpu
        self._check()
        deliveries = self._number("SELECT sum(delivery_count) FROM cdr.cdrs")
        if deliveries != self._waiting.deliveries:
            raise Failed(f"{deliveries} deliveries are counted, not {self._waiting.deliveries}")
        unfolded = self._number("SELECT coalesce(sum(cardinality(call_keys)), 0) FROM cdr.outbox WHERE kind = 'calls'")
        return self._sample(len(self._waiting.identities), seconds, cpu) | {"unfolded": float(unfolded)}

    def copied(self, rows: Path, _number: int) -> Sample:
        """Write the rows that were prepared."""
        self._empty()
        result = self._bench.folder / "copied.json"
        cpu = self._cpu([self._postgres.pid])
        log = self._bench.folder / "copy.log"
        finished(["benchmarks.rivals.copy_rows", str(rows), str(result)], {"CDR_DATABASE_URL": self._postgres.url}, log)
        cpu = self._cpu([self._postgres.pid]) - cpu
        took = json.loads(result.read_text())
        self._check()
        return self._sample(len(self._waiting.identities), took["seconds"], cpu + took["cpu"])

    def textbook(self, number: int) -> Sample:
        """Load some with a stock worker."""
        self._empty()
        posts = list(
            simulated_posts(max(20, round(TEXTBOOK_WAITING * min(1.0, self._bench.scale))), 100 + number, "json")
        )
        queue = Queue(TEXTBOOK_QUEUE, connection=self._redis, serializer=_Pickle)
        for post in posts:
            queue.enqueue("benchmarks.rivals.textbook_job.insert", json.loads(post.body))
        self._redis.rename(queue_key(TEXTBOOK_QUEUE), _ASIDE)
        command = ["rq.cli", "worker", "--url", self._valkey.url, "--quiet", TEXTBOOK_QUEUE]
        env = {"CDR_DATABASE_URL": self._postgres.url}
        with process(command, env, self._bench.folder / "textbook-worker.log") as pid:
            wait_until(lambda: is_at_work(self._redis, TEXTBOOK_QUEUE, pid), "the textbook's start")
            pids = [pid, self._valkey.pid, self._postgres.pid]
            cpu, began = self._let_begin(TEXTBOOK_QUEUE, pids)
            wait_until(lambda: self._number("SELECT count(*) FROM rival.cdrs") == len(posts), "the textbook", 600)
            seconds = time.monotonic() - began
            cpu = self._cpu(pids) - cpu
        loaded = {row[0] for row in self._connection.execute("SELECT call_id FROM rival.cdrs")}
        if loaded != {cdr.call_id for post in posts for cdr in post.cdrs}:
            raise Failed("the textbook's rows are others than its jobs")
        return self._sample(len(posts), seconds, cpu)

    def _empty(self) -> None:
        self._redis.flushall()
        self._connection.execute(f"TRUNCATE {_TABLES}".encode())
        self._connection.execute("CHECKPOINT")

    def _let_begin(self, queue: str, pids: list[int]) -> tuple[float, float]:
        """Put the queue in its place for workers that are ready; return the CPU seconds and the time of that."""
        cpu, began = self._cpu(pids), time.monotonic()
        self._redis.rename(_ASIDE, queue_key(queue))
        return cpu, began

    def _all_loaded(self) -> bool:
        return int(self._redis.hget(COUNTERS_KEY, "loaded") or 0) >= self._waiting.deliveries

    def _all_finished(self) -> bool:
        keys = queue_key(CDRS), intermediate_key(CDRS), lease_key(CDRS)
        return not self._redis.exists(*keys)

    def _check(self) -> None:
        """Raise Failed unless the rows are those of the CDRs that waited."""
        rows = {row[0] for row in self._connection.execute("SELECT identity FROM cdr.cdrs")}
        if rows != self._waiting.identities:
            missing, more = len(self._waiting.identities - rows), len(rows - self._waiting.identities)
            raise Failed(f"{missing} of {len(self._waiting.identities)} CDRs have no row, {more} rows are of no CDR")

    def _number(self, query: str) -> int:
        row = self._connection.execute(query.encode()).fetchone()
        return int(row[0]) if row else 0

    def _cpu(self, pids: list[int]) -> float:
        return cpu_seconds(pids)

    def _sample(self, cdrs: int, seconds: float, cpu: float) -> dict[str, float]:
        return {"rate": cdrs / seconds, "cpu": cpu / cdrs * 1000}


class _Pickle:
    """RQ's own serializer, which our contract has replaced in this process."""

    dumps = staticmethod(pickle.dumps)
    loads = staticmethod(pickle.loads)


def _prepared(jobs: list[NewJob]) -> list[list[tuple[Any, ...]]]:
    """Make the rows that a worker makes of jobs, those of as many CDRs together as it takes at once."""
    knowledge = Knowledge(Accounts(AccountDefaults()), ExtensionDirectory())
    deliveries: list[Delivery] = []
    for job in jobs:
        deliveries += msgspec.convert(JobSerializer.loads(JobSerializer.dumps(job.arguments[0])), list[Delivery])
    loaded_at = deliveries[-1].received_at.isoformat()
    batches = []
    for start in range(0, len(deliveries), PART_CDRS):
        records, _ = gather(deliveries[start : start + PART_CDRS], knowledge)
        batches.append([make_row(record.cdr, record.key, record.deliveries, loaded_at) for record in records])
    return batches
