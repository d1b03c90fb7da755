"""What makes two deliveries the same CDR, and two CDRs the same call: hashes for unique keys and indexes.

The hashes are stored, so the encoding below never changes: a change of `cdr_identity` would load every CDR a second time, and
one of `call_key` would part the legs of a call.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import sha256

from common.call_codes import folded_type_name

_CALL_KEY_BYTES = 16
# The provider's ids begin with the date and the time of the call, YYYYMMDDHHMMSS.
_DATE_DIGITS = 14
_DATE_BYTES = 6
_NO_TIME = datetime(1970, 1, 1)  # noqa: DTZ001 - a wall clock without a zone
MAX_TIME_RAW = 4_102_444_800
"""The last `time` that counts, 2100-01-01 00:00:00; the first is 1."""


def cdr_identity(
    account: str,
    call_id: str,
    call_type: str | None,
    time_raw: int | None,
    caller_extension: str | None,
    target_extension: str | None,
) -> bytes:
    """Return 32 bytes that are equal for two deliveries of one CDR and for nothing else.

    The two legs of a call share its id, so the type, the raw `time` and both extensions take part. A missing
    value is an empty one; `call_type` may be the name in any spelling or the numeric id.
    """
    call_id = call_id.strip()
    kind = folded_type_name(call_type) if call_type else ""
    time = "" if time_raw is None else str(time_raw)
    caller = caller_extension.strip() if caller_extension else ""
    target = target_extension.strip() if target_extension else ""
    return _digest(
        f"{len(account)}:{account}{len(call_id)}:{call_id}{len(kind)}:{kind}{len(time)}:{time}"
        f"{len(caller)}:{caller}{len(target)}:{target}"
    )


def call_key(account: str, call_id: str) -> bytes:
    """Return 16 bytes that stand for a call id of an account in indexes, however long the id is.

    Those of an id that begins with a date begin with that date as a number, the rest is a hash of both: calls of one day lie
    side by side in an index, so that those of now are in memory.
    """
    call_id = call_id.strip()
    date = call_id[:_DATE_DIGITS]
    lead = int(date).to_bytes(_DATE_BYTES) if len(date) == _DATE_DIGITS and date.isascii() and date.isdigit() else b""
    return lead + _digest(f"{len(account)}:{account}{len(call_id)}:{call_id}")[: _CALL_KEY_BYTES - len(lead)]


def provider_time(time_raw: int | None) -> datetime:
    """Return `time` as sent, decoded as if it were UTC, without a zone; 1970-01-01 when it is not usable.

    It names the partition and never depends on a setting, unlike `started_at`.
    """
    if time_raw is None or not 1 <= time_raw <= MAX_TIME_RAW:
        return _NO_TIME
    return _NO_TIME + timedelta(seconds=time_raw)


def _digest(parts: str) -> bytes:
    # In `parts` each follows its own length, so that ("ab", "c") and ("a", "bc") differ. Lone surrogates, which
    # the decoders should have replaced, must not stop a CDR here.
    return sha256(parts.encode("utf-8", "surrogatepass")).digest()
