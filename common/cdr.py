"""The typed record of one CDR; `common/field_names.py` says which of the provider's names are which attribute.

Attributes of `Cdr` are named like the columns of `cdr.cdrs`. `read_cdr` fills in what the sender said; the stages of
`worker/pipeline.py` fill in the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from common import field_values as read
from common.call_codes import call_type_name, disposition_name
from common.errors import NotACdr
from common.field_names import Shape, fold_name, our_name, reader_of, shape_of
from common.wire.repeats import shown


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
    sent_names: Mapping[str, str] = field(default_factory=dict)
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
    return not read.is_empty(fields.get(_call_id_name(fields) or ""))


def holds_call_id(fields: dict[str, Any]) -> bool:
    """Tell whether `find_call_id` finds one: at once where it is spelled as in the specification."""
    if read.call_id(fields.get("ivruniqueid"))[0] is not None:
        # Of several spellings a usable one counts, whichever it is.
        return True
    return read.call_id(fields.get(_call_id_name(fields) or ""))[0] is not None


def find_call_id(fields: dict[str, Any]) -> str:
    """Return the call's id; raise NotACdr, saying why, when the fields hold none."""
    name = _call_id_name(fields) or "ivruniqueid"
    value, problem = read.call_id(fields.get(name))
    if value is None:
        raise NotACdr(f"no call id: {name} is {problem or 'missing'}")
    return str(value)


def read_cdr(account: str, received_at: datetime, fields: dict[str, Any], payload: dict[str, Any]) -> Cdr:
    """Read the fields of a CDR, of any spelling and type; raise NotACdr when they hold no call id.

    `payload` is what the row keeps of what was sent: the same fields, or more when several deliveries were merged.
    """
    shape = shape_of(fields)
    if shape.rivals:
        shape = _settled(shape, fields)
    cdr = Cdr(account, "", received_at, payload, {}, shape.sent_names)
    for ours, name, reader in shape.steps:
        value = fields[name]
        if reader is read.text and type(value) is str:
            # What nearly all fields are; to call the reader takes longer than what it does.
            if trimmed := value.strip():
                setattr(cdr, ours, trimmed)
            continue
        reading, problem = reader(value)
        if reading is not None:
            setattr(cdr, ours, reading)
        if problem is not None:
            cdr.problems[ours] = f"{name}: {problem}"
    if not cdr.call_id:
        raise NotACdr(cdr.problems.get("call_id", "ivruniqueid: missing"))
    if not shape.is_plain:
        _note_other_spellings(cdr, fields)
    if cdr.call_type is not None:
        cdr.call_type = call_type_name(cdr.call_type)
    if cdr.disposition is not None:
        cdr.disposition = disposition_name(cdr.disposition)
    payload_shape = shape if payload is fields else shape_of(payload)
    if payload_shape.custom or payload_shape.variables:
        _read_custom(cdr, payload_shape)
    return cdr


def is_usable(name: str, value: Any) -> bool:
    """Tell whether a wire value says something that its column takes; a field of no column takes anything."""
    reader = reader_of(name)
    if reader is None or (reader is read.text and type(value) is str):
        return not read.is_empty(value)
    return reader(value)[0] is not None


def _call_id_name(fields: dict[str, Any]) -> str | None:
    """Return the name of the field that counts as the call's id."""
    shape = shape_of(fields)
    return (_settled(shape, fields) if shape.rivals else shape).sent_names.get("call_id")


def _settled(shape: Shape, fields: dict[str, Any]) -> Shape:
    """Give each field of ours that came under several names the first of them with a usable value, if any has one.

    The order in which they were sent does not count, because a payload read back from the database has lost it.
    """
    better = {ours: name for ours, names in shape.rivals if (name := _first_usable(names, fields)) != names[0]}
    if not better:
        return shape
    sent_names = {**shape.sent_names, **better}
    steps = tuple((ours, sent_names[ours], reader) for ours, _, reader in shape.steps)
    return shape._replace(steps=steps, sent_names=sent_names)


def _first_usable(names: tuple[str, ...], fields: dict[str, Any]) -> str:
    return next((name for name in names if is_usable(name, fields[name])), names[0])


def _note_other_spellings(cdr: Cdr, fields: dict[str, Any]) -> None:
    """Tell of a value that is in the payload only, because another spelling of its very name counts more.

    A synonym, such as CallID beside ivruniqueid, is a field of its own, and the provider sends both.
    """
    for name, value in fields.items():
        used = cdr.sent_names.get(our_name(name) or "", name)
        if used == name or fold_name(used) != fold_name(name) or read.is_empty(value) or value == fields[used]:
            continue
        line = f"{name}: not taken, {used} is the same field: {shown(value)}"
        cdr.problems[line] = line


def _read_custom(cdr: Cdr, shape: Shape) -> None:
    """Merge the custom data, which comes as CustomData, CUSTOM_DATA and flat `var_*` fields, in the names' order.

    `shape` is that of the payload.
    """
    merged: dict[str, Any] = {}
    for name in shape.custom:
        value, problem = read.json_object(cdr.payload[name])
        merged.update(value or {})
        if problem is not None:
            line = f"{name}: {problem}"
            cdr.problems[line] = line
    merged.update((name, cdr.payload[name]) for name in shape.variables)
    cdr.custom = merged or None
