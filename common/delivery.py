"""One delivery of one CDR: what the receiver puts into a job and the worker takes out of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

# What a decoder may put into a field. Numbers keep the digits that were sent: a JSON fraction is a
# Decimal, a number too large for PostgreSQL's numeric is text.
WireValue = str | int | bool | Decimal | None | list[Any] | dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Delivery(msgspec.Struct, array_like=True, frozen=True):
    """A CDR as it was received once.

    `delivery_id` is a random id given at receipt (32 hex digits), shared by the CDRs of one array, which
    `place` tells apart; the pair counts once however often the job runs. `received_at_us` is microseconds
    since the epoch, UTC. `format` is json, xmlrpc or form. `fields` are the sender's names and values.
    `notes` are what the decoder had to mend, as lines for the column `problems`.
    """

    delivery_id: str
    place: int
    received_at_us: int
    account: str
    format: str
    fields: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def received_at(self) -> datetime:
        """When it was received, aware and UTC, to the microsecond."""
        return instant(self.received_at_us)


class QuarantinedBody(msgspec.Struct, array_like=True, frozen=True):
    """A body, or one element of an array, that could not be taken as a CDR.

    `body` is the bytes that the parser saw, or as they came where their Content-Encoding could not be undone
    (`common/kept_encoding.py`); `headers` are the request's, secrets removed; `reason` is the code of the error and
    `error` its text.
    """

    received_at_us: int
    account: str
    format: str
    reason: str
    error: str
    headers: dict[str, str]
    body: bytes

    @property
    def received_at(self) -> datetime:
        """When it was received, aware and UTC, to the microsecond."""
        return instant(self.received_at_us)


def instant(microseconds: int) -> datetime:
    """Turn microseconds since the epoch into an aware UTC time, exactly."""
    return _EPOCH + timedelta(microseconds=microseconds)
