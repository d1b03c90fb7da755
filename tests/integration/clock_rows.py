"""Rows of `cdr.cdrs` that hold what a clock is read from and little else, many at once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from typing import NamedTuple
from uuid import uuid4

import psycopg

from common.identity import call_key, provider_time
from worker.accounts import Account
from worker.clock import read_clock

RECEIVED = datetime(2026, 9, 21, 14, 0, tzinfo=UTC)

_COLUMNS = (
    "identity, provider_time, account, call_id, call_key, outcome, started_at, time_raw, time_rule, payload, format,"
    " delivery_id, delivery_place, first_received_at, last_received_at"
)


class Sent(NamedTuple):
    """What the provider sent of a CDR."""

    account: str
    call_id: str
    time_raw: int | None


def insert(connection: psycopg.Connection, cdrs: Iterable[Sent], loaded_by: Account) -> None:
    """Insert CDRs as a worker would have with these settings for all accounts."""
    with connection.cursor() as cursor, cursor.copy(f"COPY cdr.cdrs ({_COLUMNS}) FROM STDIN".encode()) as copy:
        for account, call_id, time_raw in cdrs:
            settings = (loaded_by.time_zone, loaded_by.time_rule, loaded_by.time_fallback)
            clock = read_clock(time_raw, call_id, RECEIVED, *settings)
            # Not the true identity, so that a test may have the same CDR twice.
            delivery_id = uuid4()
            identity = sha256(delivery_id.bytes).digest()
            key = call_key(account, call_id).hex()
            start = (clock.started_at, time_raw, clock.rule)
            row = (identity, provider_time(time_raw), account, call_id, key, "other", *start)
            copy.write_row((*row, "{}", "json", delivery_id, 0, RECEIVED, RECEIVED))
