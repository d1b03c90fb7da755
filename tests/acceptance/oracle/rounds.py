"""One round: posts under a schedule of faults, then none, then the check of everything that was acknowledged."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import count
from pathlib import Path
from urllib.request import urlopen

import psycopg
import redis

from oracle.checker import Finding, check
from oracle.driver import Driver
from oracle.faults import KINDS
from oracle.ledger import Ledger
from oracle.product import Product
from oracle.schedule import Schedule
from oracle.stored import Stored, read_stored, read_totals, what_is_left
from oracle.traffic import RECORDED_SHARE, Traffic

SETTLE_SECONDS = 60.0
POLL_SECONDS = 0.4
# A fresh CDR that is not taken is tried again after so long.
FRESH_SECONDS = 0.5
# Each recording costs a few fsyncs of its own: more than so many would be what a round is spent on.
RECORDINGS = 300
_ROUNDS = count(1)


@dataclass
class Round:
    """A round and what came of it; times are on the monotonic clock. Without findings all is as it has to be."""

    name: str
    schedule: Schedule
    mark: str
    began: float
    ledger: Ledger = field(default_factory=Ledger)
    done: list[tuple[float, str]] = field(default_factory=list)
    calm_at: float = 0.0
    settle_seconds: float = 0.0
    waited_for: Finding | None = None
    stored: Stored = field(default_factory=Stored)
    findings: list[Finding] = field(default_factory=list)

    @property
    def kinds(self) -> Counter[str]:
        """How many faults of each kind."""
        return Counter(fault.kind for fault in self.schedule.faults)


class Oracle:
    """Plays rounds on one running product, one after the other, and counts what all of them left in the tables."""

    def __init__(self, product: Product) -> None:
        self.product = product
        # A round that does not come to its end has failed, too.
        self.has_failed = False
        self.rounds: list[Round] = []
        self._expected_totals: Counter[str] = Counter()

    def play(self, name: str, schedule: Schedule, seed: int, *, all_acked: bool = False) -> Round:
        """Play one round to its end; `all_acked` makes a finding of each post that was refused or not answered."""
        with self._round(name, schedule, seed) as (played, driver, traffic):
            with driver.posting(traffic, schedule.cdrs_a_second):
                self._run(played)
                # The faults end while there is traffic still, which then is finished.
                self.product.bring_back()
                played.calm_at = time.monotonic()
            self._settle(played, driver, traffic)
            if all_acked:
                played.findings += refusals(played.ledger)
        return played

    def play_by_hand(self, name: str, act: Callable[[Driver, Traffic], None]) -> Round:
        """Play a round in which `act` does all that is done, posts included."""
        with self._round(name, Schedule(0, 0, ()), 0) as (played, driver, traffic):
            act(driver, traffic)
            self.product.bring_back()
            played.calm_at = time.monotonic()
            self._settle(played, driver, traffic)
        return played

    @contextmanager
    def _round(self, name: str, schedule: Schedule, seed: int) -> Iterator[tuple[Round, Driver, Traffic]]:
        played = Round(name, schedule, f"-s{seed}r{next(_ROUNDS)}x", time.monotonic())
        driver = Driver(self.product.addresses, played.ledger)
        self.has_failed = True
        try:
            yield played, driver, Traffic(seed, played.mark, self.product.recordings_base, _recorded_share(schedule))
        finally:
            driver.close()
            self.rounds.append(played)
        self.has_failed = bool(played.findings)

    def _run(self, played: Round) -> None:
        """Begin and end each fault in its time, in this thread: it is the parent of what is started again."""
        for at, text, act in _steps(self.product, played.schedule):
            _sleep_until(played.began + at)
            played.done.append((time.monotonic() - played.began, text))
            act()
        _sleep_until(played.began + played.schedule.seconds)

    def _settle(self, played: Round, driver: Driver, traffic: Traffic) -> None:
        """Wait until everything is in its place, or a minute is over, and note what is wrong then."""
        deadline = played.calm_at + SETTLE_SECONDS
        stuck = self._send_fresh(driver, traffic, deadline)
        while (findings := self._look(played)) and time.monotonic() < deadline:
            played.waited_for = findings[0]
            self.product.start_up()
            time.sleep(POLL_SECONDS)
        played.settle_seconds = time.monotonic() - played.calm_at
        played.findings = [*stuck, *findings, *self._compare_totals(played.stored)]

    def _send_fresh(self, driver: Driver, traffic: Traffic, deadline: float) -> list[Finding]:
        """Post a fresh CDR until it is taken, as it has to be now that all is well."""
        post = traffic.fresh()
        while driver.attempt(post).outcome != "acked":
            if time.monotonic() > deadline:
                return [Finding("stuck", "a fresh CDR is not taken")]
            self.product.start_up()
            time.sleep(FRESH_SECONDS)
        return []

    def _look(self, played: Round) -> list[Finding]:
        """Find what is wrong now. The tables are read once there is nothing left to be done."""
        try:
            left = what_is_left(self.product.database_url, self.product.redis_url, self.product.spool.folder)
            if left and time.monotonic() < played.calm_at + SETTLE_SECONDS:
                return [Finding("left over", line) for line in left]
            played.stored = read_stored(
                self.product.database_url, played.mark, self.product.recordings, _digest_of_file
            )
        except (psycopg.Error, redis.RedisError) as error:
            return [Finding("stuck", f"a server does not answer: {error}")]
        digests = _digests(row["source_url"] for row in played.stored.recordings)
        found = check(played.ledger.deliveries(), played.ledger.bodies(), played.stored, digests)
        return [*(Finding("left over", line) for line in left), *found]

    def _compare_totals(self, stored: Stored) -> list[Finding]:
        """Compare the tables' totals with what all rounds left there: nothing may come to an earlier one."""
        self._expected_totals.update(
            {
                "rows": len(stored.cdrs),
                "deliveries": sum(row["delivery_count"] for row in stored.cdrs),
                "calls": len(stored.calls),
                "recordings": len(stored.recordings),
                "quarantined bodies": len(stored.bodies),
            }
        )
        try:
            totals = read_totals(self.product.database_url)
        except psycopg.Error as error:
            return [Finding("stuck", f"PostgreSQL does not answer: {error}")]
        expected, self._expected_totals = self._expected_totals, Counter(totals)
        return [
            Finding("invented", f"{number} {name} in all rounds together, not {expected[name]}")
            for name, number in totals.items()
            if number != expected[name]
        ]


def _recorded_share(schedule: Schedule) -> float:
    cdrs = schedule.seconds * schedule.cdrs_a_second
    return min(RECORDED_SHARE, RECORDINGS / cdrs) if cdrs else RECORDED_SHARE


def refusals(ledger: Ledger) -> list[Finding]:
    """Return a finding for each time that a CDR was sent and not acknowledged."""
    return [
        Finding("not taken", f"{each.outcome}: {each.answer}", sent.identity)
        for each in ledger.attempts
        if each.outcome in {"refused", "unanswered"}
        for sent in each.post.cdrs
    ]


def _steps(product: Product, schedule: Schedule) -> list[tuple[float, str, Callable[[], object]]]:
    """Return what is to be done in a round, in the order of time."""
    steps: list[tuple[float, str, Callable[[], object]]] = []
    for fault in schedule.faults:
        kind = KINDS[fault.kind]
        steps.append((fault.at, f"{fault.kind} begins", partial(kind.begin, product, fault.number)))
        if kind.longest_seconds:
            end = fault.at + fault.seconds
            steps.append((end, f"{fault.kind} ends", partial(kind.end, product, fault.number)))
    return sorted(steps, key=lambda step: step[0])


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def _digests(urls: Iterable[str]) -> dict[str, str]:
    return {url: _digest_of_url(url) for url in urls if url.startswith("http://127.0.0.1:")}


@lru_cache(maxsize=10_000)
def _digest_of_url(url: str) -> str:
    with urlopen(url, timeout=30) as response:
        return hashlib.sha256(response.read()).hexdigest()


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
