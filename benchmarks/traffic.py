"""Simulated CDRs: as posts of the last hour, or as deliveries over any time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

from cdr.simulate.calls import CDRS_A_CALL, CallFactory
from cdr.simulate.traffic import Post, TrafficFormat, make_posts
from common.delivery import Delivery
from common.wire import Fields, read_body

ACCOUNT = "default"
_ISRAEL = ZoneInfo("Asia/Jerusalem")


def simulated_posts(count: int, seed: int, traffic_format: TrafficFormat = "mixed") -> Iterator[Post]:
    """Make the posts of `count` CDRs of the last hour, which have their partition; second deliveries are on top."""
    start = datetime.now(UTC) - timedelta(hours=1)
    return make_posts(CallFactory(seed, start, calls_an_hour=count / CDRS_A_CALL), seed, traffic_format, count)


def simulated_deliveries(count: int, seed: int, first: datetime, seconds: float) -> Iterator[Delivery]:
    """Make the deliveries of `count` CDRs whose calls end from `first` on, over about so many seconds.

    Each is received when its call has ended; second deliveries are on top.
    """
    calls = CallFactory(seed, first, calls_an_hour=count / CDRS_A_CALL / seconds * 3600)
    received_at_us = 0
    for post in make_posts(calls, seed, "mixed", count):
        message = read_body(post.body, post.content_type)
        elements = [element for element in message.elements if isinstance(element, Fields)]
        received_at_us = max(received_at_us + 1000, _end_of(post, elements))
        delivery_id = uuid4().hex
        for place, element in enumerate(elements):
            yield Delivery(
                delivery_id, place, received_at_us, ACCOUNT, message.format, element.fields, tuple(element.notes)
            )


def _end_of(post: Post, elements: list[Fields]) -> int:
    """Return when the last call of a post had ended, in microseconds since 1970."""
    ends = []
    for sent, element in zip(post.cdrs, elements, strict=True):
        names = ("duration", "dialtime", "seconds_waiting_in_queue")
        took = sum(int(str(element.fields.get(name) or 0)) for name in names)
        began = datetime.fromtimestamp(sent.time, UTC).replace(tzinfo=_ISRAEL)
        ends.append(int(began.timestamp() + took + 1) * 1_000_000)
    return max(ends)
