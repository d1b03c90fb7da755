"""Reads one wire value as text, a number, a switch or JSON: the value, or None and what was wrong with it.

Each reader returns `(value, problem)`. A missing value is `(None, None)`; a bad one is `(None, problem)`; a value that
had to be mended is `(value, problem)`. None of them raises, whatever was sent.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, TypeAlias

from common.wire import read_json_text
from common.wire.numbers import MAX_EXPONENT, fraction
from common.wire.repeats import shown

Reading: TypeAlias = tuple[Any, str | None]
Reader: TypeAlias = Callable[[Any], Reading]

INT32_MAX = 2_147_483_647
INT64_MAX = 9_223_372_036_854_775_807
TIME_MAX = 4_102_444_800  # 2100-01-01: a later time is no time
MAX_CALL_ID = 512
_MILLISECONDS = range(10**12, 10**13)
_PRICE_LIMIT = 10**18
_NOTHING: Reading = (None, None)


def is_empty(value: Any) -> bool:
    """Tell whether a wire value says nothing: missing, null, blank, or an empty list or object."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (not value and isinstance(value, list | dict))


def text(value: Any) -> Reading:
    """Read text, trimmed; a number is taken as its digits."""
    if isinstance(value, str):
        return value.strip() or None, None
    if value is None:
        return _NOTHING
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return str(value), None
    return _NOTHING if is_empty(value) else (None, f"not a text: {shown(value)}")


def call_id(value: Any) -> Reading:
    """Read the id of a call: text of at most 512 characters, none of them a control character."""
    value, problem = text(value)
    if value is None:
        return None, problem
    if len(value) > MAX_CALL_ID:
        return None, f"not a call id: {len(value)} characters, {MAX_CALL_ID} at most"
    if not value.isprintable() and any(character < " " or "\x7f" <= character < "\xa0" for character in value):
        return None, f"not a call id: control characters in {shown(value)}"
    return value, None


def original_call_id(value: Any) -> Reading:
    """Read the id of the call that this one came from; "0" and "null" are ways to say that there is none.

    Taken as ids they would join all calls that say so into one.
    """
    value, problem = call_id(value)
    return (None, None) if value in {"0", "null", "NULL"} else (value, problem)


def number(value: Any) -> Decimal | None:
    """Read an exact number from a number or its text; None if it is none, or larger than PostgreSQL can carry."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, str) and value.isascii() and "_" not in value:
        value = fraction(value.strip())
    if not isinstance(value, Decimal) or not value.is_finite():
        return None
    return value if abs(value.adjusted()) <= MAX_EXPONENT else None


def seconds(value: Any) -> Reading:
    """Read a whole number of seconds, 0 to 2^31 - 1; a fraction is rounded."""
    if type(value) is int and 0 <= value <= INT32_MAX:
        return value, None
    if is_empty(value):
        return _NOTHING
    exact = number(value)
    if exact is None or not 0 <= exact <= INT32_MAX:
        return None, f"not a number of seconds: {shown(value)}"
    return int(exact.to_integral_value(ROUND_HALF_UP)), None


def epoch(value: Any) -> Reading:
    """Read `time`: whole seconds from 1 to 4102444800; a fraction is cut, 13 digits are milliseconds."""
    if type(value) is int and 1 <= value <= TIME_MAX:
        return value, None
    if is_empty(value):
        return _NOTHING
    exact = number(value)
    if exact is not None and 1 <= exact < _MILLISECONDS.stop:
        whole = int(exact)
        if whole <= TIME_MAX:
            return whole, None
        if whole in _MILLISECONDS and whole // 1000 <= TIME_MAX:
            return whole // 1000, f"milliseconds, divided by 1000: {shown(value)}"
    return None, f"not a time: {shown(value)}"


def acd_queue_id(value: Any) -> Reading:
    """Read the ACD queue's id, a bigint; 0 means that there was no queue."""
    if type(value) is int and 0 <= value <= INT64_MAX:
        return value or None, None
    if is_empty(value):
        return _NOTHING
    exact = number(value)
    if exact is None or not -INT64_MAX <= exact <= INT64_MAX or exact != int(exact):
        return None, f"not an id: {shown(value)}"
    return int(exact) or None, None


def price(value: Any) -> Reading:
    """Read an amount in agorot, sign and fraction kept."""
    if type(value) is int and 0 <= value < _PRICE_LIMIT:
        return Decimal(value), None
    if is_empty(value):
        return _NOTHING
    exact = number(value)
    if exact is None or not -_PRICE_LIMIT < exact < _PRICE_LIMIT:
        return None, f"not a price: {shown(value)}"
    return exact, None


def switch(value: Any) -> Reading:
    """Read yes or no: 1 and 0, true and false."""
    if is_empty(value):
        return _NOTHING
    known = {"1": True, "true": True, "0": False, "false": False}.get(str(value).strip().lower())
    return (known, None) if known is not None else (None, f"not 0 or 1: {shown(value)}")


def web_address(value: Any) -> Reading:
    """Read an http or https address; white space inside, from a broken line, is removed."""
    address, problem = text(value)
    if address is None:
        return None, problem
    address = "".join(address.split())
    if not address.lower().startswith(("http://", "https://")):
        return None, f"not an http address: {shown(address)}"
    return address, None


def json_value(value: Any) -> Reading:
    """Read an object or list that may come as its JSON text."""
    if is_empty(value):
        return _NOTHING
    note = None
    decoded = value
    if isinstance(value, str):
        decoded, note = read_json_text(value)
    if is_empty(decoded):
        return None, note
    return (decoded, note) if isinstance(decoded, list | dict) else (None, f"not an object or list: {shown(value)}")


def json_object(value: Any) -> Reading:
    """Read an object that may come as its JSON text."""
    decoded, problem = json_value(value)
    if decoded is None or isinstance(decoded, dict):
        return decoded, problem
    return None, f"not an object: {shown(value)}"


def menu_path(value: Any) -> Reading:
    """Read the layers of the voice menu, in the order in which they were heard; repeats are kept."""
    decoded, problem = json_value(value)
    if decoded is None:
        return None, problem
    if not isinstance(decoded, list) or not all(isinstance(layer, dict) for layer in decoded):
        return None, f"not a list of layers: {shown(value)}"
    return sorted(decoded, key=_dtmf_order), problem


def _dtmf_order(layer: dict[str, Any]) -> Decimal:
    # A layer without an order keeps its place behind those that have one: sorting is stable.
    exact = number(layer.get("dtmf_order"))
    return exact if exact is not None else Decimal("Infinity")


READERS: dict[str, Reader] = {
    "call_id": call_id,
    "original_call_id": original_call_id,
    "is_answered": switch,
    "time_raw": epoch,
    "duration_seconds": seconds,
    "actual_talk_seconds": seconds,
    "dial_seconds": seconds,
    "actual_ring_seconds": seconds,
    "queue_wait_seconds": seconds,
    "acd_queue_id": acd_queue_id,
    "price_agorot": price,
    "recording_url": web_address,
    "ivr_path": menu_path,
    "ai": json_value,
}
"""What reads each field of ours that is no text."""
