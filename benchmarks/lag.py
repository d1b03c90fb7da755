"""How long a CDR takes from before its POST to a row that another connection sees, beside an endpoint that inserts at once.

Both are watched in the same way: a connection of its own asks every few milliseconds which of the awaited ids are there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from statistics import quantiles
from typing import LiteralString, NamedTuple

import psycopg

from benchmarks.bench import Bench, Server
from benchmarks.figures import Goal, Part, Sample, interleaved
from benchmarks.paced import post_paced
from benchmarks.processes import Failed
from benchmarks.traffic import ACCOUNT
from cdr.simulate.run import SimulateOptions, posts_of
from cdr.simulate.traffic import Post
from common.job_queue import RECORDINGS

# How long at each number of CDRs a second.
SECONDS = {1: 20.0, 50: 10.0, 500: 6.0}
LEAST_POSTS = 5
# What is added to each lag is this at most, half of it on average, and the look itself.
ASK_EVERY_SECONDS = 0.0005
LONGEST_LAG_SECONDS = 60.0
OURS, INSERT = "ours, durable", "FastAPI and a synchronous INSERT"
UNITS = {"p50_ms": "ms", "p99_ms": "ms", "sent": "CDR/s"}
GOAL_RATE = 50
GOALS = [Goal("p50 beside the synchronous INSERT", "p50_ms", OURS, INSERT, at_most=5)]
# The watcher's alone: the rival has no index, and without one each look would read the whole table.
INDEX = "CREATE INDEX IF NOT EXISTS cdrs_call_id ON rival.cdrs (call_id)"


class _Contender(NamedTuple):
    """Where to post to, and what tells which of some call ids have a row."""

    url: str
    seen: LiteralString


def measure(bench: Bench) -> Iterator[Part]:
    """Measure at each pace."""
    with ExitStack() as stack:
        valkey, postgres = stack.enter_context(bench.valkey()), stack.enter_context(bench.postgres())
        contenders = {OURS: _ours(bench, stack, valkey, postgres), INSERT: _synchronous_insert(bench, stack, postgres)}
        for contender in contenders.values():
            # What happens once, such as connections and imports, is no part of a lag.
            _measure(bench, postgres, contender, 10, -1)
        for rate in SECONDS:
            runs: dict[str, Callable[[int], Sample]] = {
                name: partial(_measure, bench, postgres, contender, rate) for name, contender in contenders.items()
            }
            samples = interleaved(bench.rounds, runs, bench.tell)
            yield Part(f"lag, {rate}/s", _about(bench, rate), UNITS, samples, GOALS if rate == GOAL_RATE else [])


def _about(bench: Bench, rate: int) -> str:
    return (
        f"Milliseconds from before the POST until another connection, which asks every {ASK_EVERY_SECONDS * 1000:g} ms, sees the "
        f"row: {_count(bench, rate)} simulated JSON CDRs of as many calls a round, evenly {rate} a second, whether or not those "
        "before are answered. Receiver, worker, recorder and scheduler run as in `cdr up`; both write into one PostgreSQL."
    )


def _ours(bench: Bench, stack: ExitStack, valkey: Server, postgres: Server) -> _Contender:
    receiver = stack.enter_context(bench.receiver(valkey))
    stack.enter_context(bench.worker(valkey, postgres))
    stack.enter_context(bench.worker(valkey, postgres, RECORDINGS))
    stack.enter_context(bench.scheduler(valkey, postgres))
    return _Contender(
        receiver.url,
        "SELECT call_id FROM cdr.cdrs WHERE call_key = ANY"
        f"(ARRAY(SELECT cdr.call_key('{ACCOUNT}', id) FROM unnest(%s::text[]) AS id))",
    )


def _synchronous_insert(bench: Bench, stack: ExitStack, postgres: Server) -> _Contender:
    rival = stack.enter_context(bench.rival("synchronous_insert", {"CDR_DATABASE_URL": postgres.url}))
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(INDEX)
    return _Contender(rival.url, "SELECT call_id FROM rival.cdrs WHERE call_id = ANY(%s)")


def _measure(bench: Bench, postgres: Server, contender: _Contender, rate: int, _number: int) -> Sample:
    watcher = _Watcher(postgres.url, contender.seen)
    posts = _posts(_count(bench, rate), rate)
    with watcher:
        sent = post_paced(contender.url, posts, rate, lambda post: watcher.expect(post.cdrs[0].call_id))
    lags = watcher.lags_ms()
    if len(lags) != len(posts):
        raise Failed(f"{len(posts)} CDRs were acknowledged, {len(lags)} have a row {LONGEST_LAG_SECONDS:g} s later")
    hundredths = quantiles(lags, n=100, method="inclusive")
    return {"p50_ms": hundredths[49], "p99_ms": hundredths[98], "sent": sent}


def _count(bench: Bench, rate: int) -> int:
    return max(LEAST_POSTS, round(rate * SECONDS.get(rate, 1.0) * bench.scale))


def _posts(count: int, rate: int) -> list[Post]:
    """Make posts of one CDR each whose calls end as they are posted, and the first of its call: the call id tells it."""
    first: dict[str, Post] = {}
    for post in posts_of(SimulateOptions(rate=rate, format="json")):
        first.setdefault(post.cdrs[0].call_id, post)
        if len(first) == count:
            break
    return list(first.values())


class _Watcher:
    """Notes when each expected id is first seen, by a thread and a connection of its own, for the length of a with-block."""

    def __init__(self, database_url: str, query: LiteralString) -> None:
        self._connection = psycopg.connect(database_url, autocommit=True)
        self._query = query
        self._expected: dict[str, float] = {}
        self._lags: list[float] = []
        self._last_sent = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)

    def expect(self, call_id: str) -> None:
        """Start the clock of a call id that is about to be sent."""
        self._expected[call_id] = time.monotonic()

    def lags_ms(self) -> list[float]:
        """Return what each took, in the order of their rows."""
        return self._lags

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._expected.clear()
        self._last_sent.set()
        self._thread.join()
        self._connection.close()

    def _watch(self) -> None:
        look_at = gives_up_at = time.monotonic()
        while not self._last_sent.is_set() or (self._expected and look_at < gives_up_at):
            self._look()
            look_at = max(look_at + ASK_EVERY_SECONDS, time.monotonic())
            time.sleep(max(0.0, look_at - time.monotonic()))
            if not self._last_sent.is_set():
                gives_up_at = look_at + LONGEST_LAG_SECONDS

    def _look(self) -> None:
        # The sender adds to it meanwhile; this makes the list in one step.
        awaited = list(self._expected)
        if not awaited:
            return
        rows = self._connection.execute(self._query, [awaited], prepare=True).fetchall()
        now = time.monotonic()
        for (call_id,) in rows:
            if (began := self._expected.pop(call_id, None)) is not None:
                self._lags.append((now - began) * 1000)
