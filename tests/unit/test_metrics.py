from __future__ import annotations

from api.metrics import Metrics


def lines(metrics: Metrics) -> set[str]:
    return set(metrics.text(None, None).decode().splitlines())


def test_an_answer_is_in_every_bucket_that_is_as_long_as_it_was() -> None:
    metrics = Metrics()
    for seconds in (0.001, 0.25, 0.3, 99.0):
        metrics.observe_answer(seconds)
    assert {
        'cdr_ack_seconds_bucket{le="0.0005"} 0.0',
        'cdr_ack_seconds_bucket{le="0.001"} 1.0',
        'cdr_ack_seconds_bucket{le="0.25"} 2.0',
        'cdr_ack_seconds_bucket{le="0.5"} 3.0',
        'cdr_ack_seconds_bucket{le="5.0"} 3.0',
        'cdr_ack_seconds_bucket{le="+Inf"} 4.0',
        "cdr_ack_seconds_count 4.0",
        "cdr_ack_seconds_sum 99.551",
    } <= lines(metrics)


def test_what_was_received_is_counted_by_format_and_result() -> None:
    metrics = Metrics()
    metrics.count("json", "stored")
    metrics.count("json", "stored", 2)
    metrics.count("xmlrpc", "unreadable")
    metrics.count("form", "stored", 0)
    assert {line for line in lines(metrics) if line.startswith("cdr_received_total")} == {
        'cdr_received_total{format="json",result="stored"} 3.0',
        'cdr_received_total{format="xmlrpc",result="unreadable"} 1.0',
    }
