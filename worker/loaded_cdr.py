"""What a hook gets, and what it may raise to ask for another try or for none. Hooks import it from worker/hooks.py."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

LONGEST_WAIT_SECONDS = 86_400.0
_encode = msgspec.json.Encoder(decimal_format="number").encode


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedCdr:
    """One CDR as its row in `cdr.cdrs` is at this moment, under the names of its columns; see docs/enrichment.md for each.

    `identity` is the row's key in hex, the same for ever. Times are aware and in UTC, but for `provider_time`, which is the
    provider's wall clock and has no zone. Numbers within JSON columns are int or Decimal, to the digit. None is null.

    `is_update` says that a later delivery changed the row, else it is new. `attempt` is 1 at the first try. `event_id` names
    what happened, 32 hex digits, the same at every try and for every hook.
    """

    identity: str
    provider_time: datetime
    account: str
    call_id: str
    original_call_id: str | None = None
    call_type: str | None = None
    direction: str | None = None
    disposition: str | None = None
    outcome: str
    started_at: datetime
    time_raw: int | None = None
    time_rule: str
    talk_seconds: int | None = None
    ring_seconds: int | None = None
    queue_wait_seconds: int | None = None
    duration_seconds: int | None = None
    caller_number: str | None = None
    caller_e164: str | None = None
    caller_country_code: str | None = None
    caller_country: str | None = None
    caller_kind: str | None = None
    called_party: str | None = None
    called_e164: str | None = None
    called_country_code: str | None = None
    called_country: str | None = None
    called_kind: str | None = None
    did_number: str | None = None
    did_e164: str | None = None
    acd_queue_id: int | None = None
    acd_queue_name: str | None = None
    caller_extension_code: str | None = None
    caller_extension_name: str | None = None
    answering_extension_code: str | None = None
    answering_extension_name: str | None = None
    agent_code: str | None = None
    agent_name: str | None = None
    price_agorot: Decimal | None = None
    recording_url: str | None = None
    ivr_path: list[Any] | None = None
    custom: dict[str, Any] | None = None
    ai: Any = None
    payload: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    first_received_at: datetime
    last_received_at: datetime
    delivery_count: int = 1
    loaded_at: datetime
    is_update: bool = False
    attempt: int = 1
    event_id: str = ""

    def as_json(self) -> bytes:
        """Return the columns as a JSON object in UTF-8: times as ISO 8601, numbers to the digit."""
        return _encode({name: getattr(self, name) for name in COLUMNS})


_ABOUT_THE_EVENT = frozenset({"is_update", "attempt", "event_id"})
# The attributes that are columns of `cdr.cdrs`, in the order in which worker/sql/read_loaded_cdr.sql reads them.
COLUMNS = tuple(each.name for each in fields(LoadedCdr) if each.name not in _ABOUT_THE_EVENT)


class GiveUp(Exception):
    """Raise it when another try would be in vain: the job fails at once, to be listed and replayed with `cdr failed`."""


class TryLater(Exception):
    """Raise it to be called again no sooner than in so many seconds, a day at most.

    It counts as a try, and the wait that is next in CDR_HOOK_RETRY_SECONDS stands where it is longer.
    """

    def __init__(self, seconds: float, message: str = "") -> None:
        super().__init__(message or f"in {seconds:g} s")
        # A comparison with what is no number is false either way.
        self.seconds = min(float(seconds), LONGEST_WAIT_SECONDS) if seconds > 0 else 0.0
