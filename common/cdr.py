"""The typed record of one CDR; `common/field_names.py` says which of the provider's names are which attribute.

Attributes of `Cdr` are named like the columns of `cdr.cdrs`. `read_cdr` fills in what the sender said; the stages of
`worker/pipeline.py` fill in the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from common import field_values as read
from common.call_codes import call_type_name, disposition_name
from common.errors import NotACdr
from common.field_names import RANK, fold_name, our_name, shape_of
from common.wire.repeats import shown

_READERS: dict[str, read.Reader] = {
    "call_id": read.call_id,
    "original_call_id": read.original_call_id,
    "is_answered": read.switch,
    "time_raw": read.epoch,
    "duration_seconds": read.seconds,
    "actual_talk_seconds": read.seconds,
    "dial_seconds": read.seconds,
    "actual_ring_seconds": read.seconds,
    "queue_wait_seconds": read.seconds,
    "acd_queue_id": read.acd_queue_id,
    "price_agorot": read.price,
    "recording_url": read.web_address,
    "ivr_path": read.menu_path,
    "ai": read.json_value,
}


@dataclass(slots=True)
class Cdr:
    """One CDR. None means that nothing, or nothing usable, was sent; `problems` says which, by field.

    `sent_names` has for each field the name under which its value was sent, and a line of `problems` begins with it.
    `shown_names` are the extension codes with the names that the CDR itself carries.
    Times are aware and UTC, durations whole seconds, prices agorot. Attributes below the first blank line are
    filled in by the stages; those that are no column are input for them.
    """

    account: str
    call_id: str
    received_at: datetime
    payload: dict[str, Any]
    problems: dict[str, str] = field(default_factory=dict)
    sent_names: dict[str, str] = field(default_factory=dict)
    original_call_id: str | None = None
    call_type: str | None = None
    disposition: str | None = None
    direction: str | None = None
    is_answered: bool | None = None
    time_raw: int | None = None
    duration_seconds: int | None = None
    actual_talk_seconds: int | None = None
    dial_seconds: int | None = None
    actual_ring_seconds: int | None = None
    queue_wait_seconds: int | None = None
    caller_number: str | None = None
    called_party: str | None = None
    did_number: str | None = None
    acd_queue_id: int | None = None
    acd_queue_name: str | None = None
    caller_extension_code: str | None = None
    caller_extension_name: str | None = None
    answering_extension_code: str | None = None
    answering_extension_name: str | None = None
    agent_code: str | None = None
    agent_name: str | None = None
    caller_country_sent: str | None = None
    called_country_sent: str | None = None
    price_agorot: Decimal | None = None
    recording_url: str | None = None
    ivr_path: list[Any] | None = None
    custom: dict[str, Any] | None = None
    ai: Any = None

    outcome: str = "other"
    started_at: datetime | None = None
    time_rule: str = ""
    talk_seconds: int | None = None
    ring_seconds: int | None = None
    caller_e164: str | None = None
    caller_country_code: str | None = None
    caller_country: str | None = None
    caller_kind: str | None = None
    called_e164: str | None = None
    called_country_code: str | None = None
    called_country: str | None = None
    called_kind: str | None = None
    did_e164: str | None = None
    shown_names: tuple[tuple[str, str], ...] = ()


def sends_call_id(fields: dict[str, Any]) -> bool:
    """Tell whether the fields hold something for a call's id, be it usable or not."""
    return not read.is_empty(fields.get(_gather(fields).get("call_id", "")))


def holds_call_id(fields: dict[str, Any]) -> bool:
    """Tell whether `find_call_id` finds one: at once where it is spelled as in the specification."""
    if read.call_id(fields.get("ivruniqueid"))[0] is not None:
        # Of several spellings a usable one counts, whichever it is.
        return True
    return read.call_id(fields.get(_gather(fields).get("call_id", "")))[0] is not None


def find_call_id(fields: dict[str, Any]) -> str:
    """Return the call's id; raise NotACdr, saying why, when the fields hold none."""
    name = _gather(fields).get("call_id", "ivruniqueid")
    value, problem = read.call_id(fields.get(name))
    if value is None:
        raise NotACdr(f"no call id: {name} is {problem or 'missing'}")
    return str(value)


def read_cdr(account: str, received_at: datetime, fields: dict[str, Any], payload: dict[str, Any]) -> Cdr:
    """Read the fields of a CDR, of any spelling and type; raise NotACdr when they hold no call id.

    `payload` is what the row keeps of what was sent: the same fields, or more when several deliveries were merged.
    """
    cdr = Cdr(account, "", received_at, payload)
    cdr.sent_names = _gather(fields)
    for ours, name in cdr.sent_names.items():
        reading, problem = _READERS.get(ours, read.text)(fields[name])
        if reading is not None:
            setattr(cdr, ours, reading)
        if problem is not None:
            cdr.problems[ours] = f"{name}: {problem}"
    if not cdr.call_id:
        raise NotACdr(cdr.problems.get("call_id", "ivruniqueid: missing"))
    _note_other_spellings(cdr, fields)
    if cdr.call_type is not None:
        cdr.call_type = call_type_name(cdr.call_type)
    if cdr.disposition is not None:
        cdr.disposition = disposition_name(cdr.disposition)
    _read_custom(cdr)
    return cdr


def is_usable(name: str, value: Any) -> bool:
    """Tell whether a wire value says something that its column takes; a field of no column takes anything."""
    if read.is_empty(value):
        return False
    if fold_name(name) == "customdata":
        return read.json_object(value)[0] is not None
    ours = our_name(name)
    return ours is None or _READERS.get(ours, read.text)(value)[0] is not None


def _gather(fields: dict[str, Any]) -> dict[str, str]:
    """Pick for each field of ours the name whose value counts, by the order of the synonyms."""
    return {ours: names[0] if len(names) == 1 else _best(names, fields) for ours, names in shape_of(fields).names}


def _best(names: tuple[str, ...], fields: dict[str, Any]) -> str:
    best = names[0]
    for name in names[1:]:
        if _counts_more(name, fields[name], best, fields[best]):
            best = name
    return best


def _note_other_spellings(cdr: Cdr, fields: dict[str, Any]) -> None:
    """Tell of a value that is in the payload only, because another spelling of its very name counts more.

    A synonym, such as CallID beside ivruniqueid, is a field of its own, and the provider sends both.
    """
    if shape_of(fields).is_plain:
        return
    for name, value in fields.items():
        used = cdr.sent_names.get(our_name(name) or "", name)
        if used == name or fold_name(used) != fold_name(name) or read.is_empty(value) or value == fields[used]:
            continue
        line = f"{name}: not taken, {used} is the same field: {shown(value)}"
        cdr.problems[line] = line


def _counts_more(name: str, value: Any, than_name: str, than_value: Any) -> bool:
    """Compare two spellings of one field: one with a usable value first, then the synonyms' order, then the name itself.

    The order in which they were sent does not count, because a payload read back from the database has lost it.
    """
    usable, than_usable = is_usable(name, value), is_usable(than_name, than_value)
    if usable != than_usable:
        return usable
    return (RANK[fold_name(name)], name) < (RANK[fold_name(than_name)], than_name)


def _read_custom(cdr: Cdr) -> None:
    """Merge the custom data, which comes as CustomData, CUSTOM_DATA and flat `var_*` fields, in the names' order."""
    shape = shape_of(cdr.payload)
    merged: dict[str, Any] = {}
    for name in shape.custom:
        value, problem = read.json_object(cdr.payload[name])
        merged.update(value or {})
        if problem is not None:
            line = f"{name}: {problem}"
            cdr.problems[line] = line
    merged.update((name, cdr.payload[name]) for name in shape.variables)
    cdr.custom = merged or None
