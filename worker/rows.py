"""A record as a row of `cdr.cdrs`, in the order of the columns in `sql/copy_incoming.sql`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from common.cdr import Cdr
from common.delivery import Delivery
from common.identity import call_key, cdr_identity, provider_time

# The unique key of a record: its identity and its provider_time.
Key: TypeAlias = tuple[bytes, datetime]

# To write a time down takes `isoformat` five times as long, and psycopg longer still. A time is in UTC, or has no zone.
as_text: Callable[[datetime], str] = msgspec.to_builtins
_encode = msgspec.json.Encoder(decimal_format="number").encode


def identify(cdr: Cdr) -> Key:
    """Return the unique key of a record: its identity and its provider_time."""
    identity = cdr_identity(
        cdr.account,
        cdr.call_id,
        cdr.call_type,
        cdr.time_raw,
        cdr.caller_extension_code,
        cdr.answering_extension_code,
    )
    return identity, provider_time(cdr.time_raw)


def make_row(
    cdr: Cdr, key: Key, deliveries: list[Delivery], loaded_at: str, delivery_count: int | None = None
) -> tuple[Any, ...]:
    """Return the row of a CDR that is known by these deliveries, given in order; `key` is what `identify` says of it.

    `loaded_at` is a time as text. `delivery_count` is how many deliveries there were with those that make no difference any
    more; None: these are all.
    """
    first, last = deliveries[0], deliveries[-1]
    received_at = as_text(cdr.received_at)
    return (
        key[0],
        as_text(key[1]),
        cdr.account,
        cdr.call_id,
        call_key(cdr.account, cdr.call_id).hex(),
        cdr.original_call_id,
        cdr.call_type,
        cdr.direction,
        cdr.disposition,
        cdr.outcome,
        as_text(cdr.started_at) if cdr.started_at else None,
        cdr.time_raw,
        cdr.time_rule,
        cdr.talk_seconds,
        cdr.ring_seconds,
        cdr.queue_wait_seconds,
        cdr.duration_seconds,
        cdr.caller_number,
        cdr.caller_e164,
        cdr.caller_country_code,
        cdr.caller_country,
        cdr.caller_kind,
        cdr.called_party,
        cdr.called_e164,
        cdr.called_country_code,
        cdr.called_country,
        cdr.called_kind,
        cdr.did_number,
        cdr.did_e164,
        cdr.acd_queue_id,
        cdr.acd_queue_name,
        cdr.caller_extension_code,
        cdr.caller_extension_name,
        cdr.answering_extension_code,
        cdr.answering_extension_name,
        cdr.agent_code,
        cdr.agent_name,
        cdr.price_agorot,
        cdr.recording_url,
        as_json(cdr.ivr_path),
        as_json(cdr.custom),
        as_json(cdr.ai),
        as_json(cdr.payload),
        # In an order that does not hang on that of the fields, which a delivery that is read back has lost. To write a list takes
        # psycopg ten times as long as a text, and there is nothing to tell of most CDRs.
        sorted(cdr.problems.values()) or "{}",
        list(first.notes) or None,
        first.format,
        first.delivery_id,
        first.place,
        received_at,
        received_at if last is first else as_text(last.received_at),
        len(deliveries) if delivery_count is None else delivery_count,
        loaded_at,
    )


def as_json(value: Any) -> str | None:
    """Return a value as JSON text for a jsonb column, numbers to the digit; None stays null."""
    return None if value is None else _encode(value).decode()
