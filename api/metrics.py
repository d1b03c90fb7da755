"""What the receiver counts, and how it is shown to Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple

import prometheus_client
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from common.queue_state import COUNTED
from common.receiver_state import SpoolState

_MEANINGS = {
    "loaded": "Deliveries loaded by all workers, since Redis keeps count.",
    "refused": "CDRs set aside by all workers, since Redis counts.",
    "recovered": "Jobs put back after their worker died, since Redis counts.",
    "orphans": "Jobs found in no queue and no registry and put back, since Redis counts.",
}
_ACK_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class QueueState(NamedTuple):
    """One queue: jobs that wait, jobs that failed, and the age of the job at its head in seconds."""

    jobs: int
    failed: int
    oldest_seconds: float


class SharedState(Collector):
    """What all processes share, as read from Redis for one scrape: queues by name, and what is counted there."""

    def __init__(self, queues: Mapping[str, QueueState], counts: Mapping[str, int]) -> None:
        self._queues = queues
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, for prometheus_client."""
        jobs = GaugeMetricFamily("cdr_queue_jobs", "Jobs that wait in a queue.", labels=["queue"])
        oldest = GaugeMetricFamily("cdr_queue_oldest_seconds", "Age of the job at a queue's head.", labels=["queue"])
        failed = GaugeMetricFamily("cdr_failed_jobs", "Jobs that failed and were not replayed.", labels=["queue"])
        for name, state in self._queues.items():
            jobs.add_metric([name], state.jobs)
            oldest.add_metric([name], state.oldest_seconds)
            failed.add_metric([name], state.failed)
        yield from (jobs, oldest, failed)
        for name in COUNTED:
            yield CounterMetricFamily(f"cdr_{name}", _MEANINGS[name], self._counts[name])


class SpoolGauges(Collector):
    """The spool of this receiver, as it is at the moment of one scrape."""

    def __init__(self, spool: SpoolState) -> None:
        self._spool = spool

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, for prometheus_client."""
        spool = self._spool
        yield GaugeMetricFamily("cdr_spool_cdrs", "CDRs and bodies that wait in the disk spool.", spool.cdrs)
        yield GaugeMetricFamily("cdr_spool_bytes", "Bytes that wait in the disk spool.", spool.bytes)
        yield GaugeMetricFamily("cdr_spool_max_bytes", "Bytes that the disk spool may hold.", spool.max_bytes)
        yield GaugeMetricFamily("cdr_spool_oldest_seconds", "Age of what waits longest.", spool.oldest_seconds or 0.0)
        yield GaugeMetricFamily("cdr_spool_usable", "Whether the spool takes CDRs.", float(spool.problem is None))


class Received(Collector):
    """What was received and how long senders waited, in plain numbers, which become metrics at a scrape.

    Each post is counted twice, and the library's own counters take locks that the one thread of a receiver has no use for.
    """

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._answers = [0] * (len(_ACK_BUCKETS) + 1)
        self._seconds = 0.0

    def observe_answer(self, seconds: float) -> None:
        """Note how long a sender waited for its answer."""
        self._answers[bisect_left(_ACK_BUCKETS, seconds)] += 1
        self._seconds += seconds

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, for prometheus_client."""
        received = CounterMetricFamily("cdr_received", "CDRs and bodies received.", labels=["format", "result"])
        for (body_format, result), count in self.counts.items():
            received.add_metric([body_format, result], count)
        yield received
        bounds = [*map(floatToGoString, _ACK_BUCKETS), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._answers), strict=True))
        yield HistogramMetricFamily("cdr_ack_seconds", "From the request to its answer.", buckets, self._seconds)


class Metrics:
    """The metrics of one receiver process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._received = Received()
        self.registry.register(self._received)
        self._spooled = prometheus_client.Counter(
            "cdr_spooled", "CDRs and bodies put into the disk spool.", registry=self.registry
        )
        self._drained = prometheus_client.Counter(
            "cdr_drained", "CDRs and bodies brought from it to Redis.", registry=self.registry
        )

    def count(self, body_format: str, result: str, amount: int = 1) -> None:
        """Count what was received, by format and by what became of it."""
        if amount:
            self._received.counts[body_format, result] += amount

    def observe_answer(self, seconds: float) -> None:
        """Note how long a sender waited for its answer."""
        self._received.observe_answer(seconds)

    def count_spooled(self, amount: int) -> None:
        """Count what was put into the spool."""
        self._spooled.inc(amount)

    def count_drained(self, amount: int) -> None:
        """Count what was brought from the spool to Redis."""
        self._drained.inc(amount)

    def text(self, spool: SpoolState | None, shared: SharedState | None) -> bytes:
        """Return all metrics in Prometheus' text format: ours, the spool's if there is one, what Redis tells if it does."""
        parts: list[Collector] = [self.registry]
        if spool is not None:
            parts.append(SpoolGauges(spool))
        if shared is not None:
            parts.append(shared)
        return b"".join(map(generate_latest, parts))
