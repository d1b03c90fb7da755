"""What the receiver counts, and how it is shown to Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_ACK_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class Metrics:
    """The metrics of one receiver process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._received = Counter(
            "cdr_received", "CDRs and bodies received.", ("format", "result"), registry=self.registry
        )
        self._ack_seconds = Histogram(
            "cdr_ack_seconds", "From the request to its answer.", buckets=_ACK_BUCKETS, registry=self.registry
        )
        self._shared = {
            name: Gauge(f"cdr_{name}", text, labels, registry=self.registry)
            for name, text, labels in (
                ("queue_jobs", "Jobs that wait in a queue.", ("queue",)),
                ("queue_oldest_seconds", "Age of the job at the head of a queue.", ("queue",)),
                ("failed_jobs", "Jobs that failed and were not replayed.", ("queue",)),
                ("loaded_total", "CDRs loaded by all workers, since Redis keeps count.", ()),
                ("refused_total", "CDRs set aside by all workers, since Redis keeps count.", ()),
            )
        }
        self._children: dict[tuple[str, str], Counter] = {}

    def count(self, body_format: str, result: str, amount: int = 1) -> None:
        """Count what was received, by format and by what became of it."""
        if not amount:
            return
        key = (body_format, result)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._received.labels(*key)
        child.inc(amount)

    def observe_answer(self, seconds: float) -> None:
        """Note how long a sender waited for its answer."""
        self._ack_seconds.observe(seconds)

    def show(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge that all processes share, read from Redis at scrape time."""
        gauge = self._shared[name]
        (gauge.labels(*labels) if labels else gauge).set(value)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
