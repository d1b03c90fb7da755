"""What the receiver puts into a job comes out of it the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.delivery import Delivery, QuarantinedBody, instant
from common.job_queue import JobSerializer

AT_US = 1_795_392_000_123_456


@given(st.integers(-(2**40), 2**51))
def test_an_instant_is_exact_to_the_microsecond(microseconds: int) -> None:
    assert instant(microseconds) - datetime(1970, 1, 1, tzinfo=UTC) == timedelta(microseconds=microseconds)


def test_a_delivery_knows_when_it_was_received() -> None:
    assert Delivery("id", 0, AT_US, "default", "json", {}).received_at.isoformat() == "2026-11-23T00:00:00.123456+00:00"


def test_a_kept_body_knows_when_it_was_received() -> None:
    body = QuarantinedBody(AT_US, "default", "json", "unreadable", "no JSON", {}, b"")
    assert body.received_at.isoformat() == "2026-11-23T00:00:00.123456+00:00"


@pytest.mark.parametrize("price", [Decimal("7.10"), Decimal("1E+5"), 10**300, -(2**63), True, None, "7", [1], {"a": 1}])
def test_a_delivery_survives_its_job(price: object) -> None:
    delivery = Delivery("id", 3, AT_US, "default", "json", {"price": price, "שם": "ד"}, ("price: mended",))
    again = msgspec.convert(JobSerializer.loads(JobSerializer.dumps(delivery)), Delivery)
    assert again == delivery
    assert str(again.fields["price"]) == str(price)


@given(st.binary(max_size=200))
def test_a_kept_body_survives_its_job_byte_for_byte(body: bytes) -> None:
    kept = QuarantinedBody(AT_US, "default", "json", "unreadable", "why", {"host": "x.invalid"}, body)
    assert msgspec.convert(JobSerializer.loads(JobSerializer.dumps(kept)), QuarantinedBody) == kept
