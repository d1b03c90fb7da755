"""What a row has to say, worked out from what was sent, without a line of the product's own code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from oracle.ledger import Delivery

ISRAEL = ZoneInfo("Asia/Jerusalem")
# The columns that are a field as sent, white space around it removed and nothing when it is empty.
AS_SENT = {
    "call_id": "ivruniqueid",
    "original_call_id": "OriginalivrUniqueID",
    "call_type": "type",
    "disposition": "status",
    "time_raw": "time",
    "duration_seconds": "duration",
    "queue_wait_seconds": "seconds_waiting_in_queue",
    "caller_number": "caller",
    "called_party": "target",
    "did_number": "did",
    "acd_queue_name": "queuename",
    "caller_extension_code": "callerextension",
    "answering_extension_code": "targetextension",
    "agent_code": "representative_code",
    "price_agorot": "price",
    "recording_url": "record",
}
COLUMNS = (*AS_SENT, "talk_seconds", "ring_seconds", "acd_queue_id", "agent_name")
OBJECT_STARTS = ("{", "[")
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")


def plain(value: Any) -> str:
    """Write a value so that it is the same text whichever format carried it; nothing at all is empty text."""
    if isinstance(value, str):
        return _plain_text(value.strip())
    if isinstance(value, bool) or value is None:
        return str(value or "")
    if isinstance(value, int | float | Decimal):
        return _plain_number(Decimal(str(value)))
    return json.dumps(_plain_inside(value), ensure_ascii=False, sort_keys=True) if value else ""


def _plain_text(text: str) -> str:
    if text.startswith(OBJECT_STARTS):
        return plain(json.loads(text, parse_float=Decimal))
    # With a leading zero it is a telephone number, in which each digit counts.
    return _plain_number(Decimal(text)) if NUMBER.fullmatch(text) else text


def _plain_number(number: Decimal) -> str:
    return f"{number.normalize():f}"


def _plain_inside(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain_inside(item) for name, item in value.items()}
    return [_plain_inside(item) for item in value] if isinstance(value, list) else plain(value)


def expected_columns(payload: Mapping[str, Any]) -> dict[str, str]:
    """Return what the compared columns have to hold for a payload, each as plain text."""
    said = {name: plain(value) for name, value in payload.items()}
    columns = {column: said.get(name, "") for column, name in AS_SENT.items()}
    columns["talk_seconds"] = said.get("actualCallDuration") or said.get("duration", "")
    columns["ring_seconds"] = said.get("actualCallDialtime") or said.get("dialtime", "")
    columns["acd_queue_id"] = said.get("queueid", "").removeprefix("0")
    columns["agent_name"] = _agent_name(said)
    columns["started_at"] = _started_at(int(said["time"]))
    columns["answered"] = str(said["status"] == "ANSWER" and said["type"] != "VoiceMail")
    return columns


def stored_columns(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the compared columns of a row, each as plain text."""
    columns = {name: plain(row[name]) for name in COLUMNS}
    columns["started_at"] = row["started_at"].astimezone(UTC).isoformat()
    columns["answered"] = str(row["outcome"] == "answered")
    return columns


def allowed_values(deliveries: Iterable[Delivery], name: str) -> set[str]:
    """Return what the merged value of a field may be: a later value wins, an empty one never erases.

    What was certainly received decides; what was not acknowledged may have been received or not. Nothing is allowed only
    while nothing was certainly received that says something.
    """
    saying = [(each, value) for each in deliveries if (value := plain(each.fields.get(name)))]
    certain = [(each, value) for each, value in saying if each.is_certain]
    allowed = {
        value for each, value in saying if not any(other != value and each.precedes(later) for later, other in certain)
    }
    return allowed if certain else allowed | {""}


def _agent_name(said: Mapping[str, str]) -> str:
    name = said.get("representative_name", "")
    # The provider names a machine so; it is an agent only with a code.
    return "" if name == "External IVR" and not said.get("representative_code") else name


def _started_at(time: int) -> str:
    """Read `time` as Israel's wall clock; the hour that comes twice is its first."""
    wall_clock = datetime.fromtimestamp(time, UTC).replace(tzinfo=ISRAEL, fold=0)
    return wall_clock.astimezone(UTC).isoformat()
