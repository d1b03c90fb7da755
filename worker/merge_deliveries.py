"""Folds the deliveries of one CDR into what is known of it: a later value wins, an empty one never erases."""

from __future__ import annotations

from typing import Any, NamedTuple

from common.cdr import is_usable
from common.delivery import Delivery
from common.field_names import fold_name, shape_of
from common.field_values import is_empty


class Merged(NamedTuple):
    """What stands after all deliveries.

    `payload` is every field by the name under which it was sent, `fields` the same without the spellings that a later
    one replaced, `notes` the decoder's notes on what stands.
    """

    payload: dict[str, Any]
    fields: dict[str, Any]
    notes: list[str]


def in_order(deliveries: list[Delivery]) -> list[Delivery]:
    """Sort deliveries by when they were received, whatever order they load in."""
    if len(deliveries) == 1:
        return deliveries
    return sorted(deliveries, key=lambda each: (each.received_at_us, each.delivery_id, each.place))


def merge(deliveries: list[Delivery]) -> Merged:
    """Fold deliveries, given in order.

    A value that its column refuses is as good as empty, so it replaces no usable one; it stands only while nothing
    better came, so that the payload shows what was sent.
    """
    if len(deliveries) == 1:
        only = deliveries[0]
        return Merged(only.fields, only.fields, list(only.notes))
    payload: dict[str, Any] = {}
    source: dict[str, Delivery] = {}
    spelling: dict[str, str] = {}
    for delivery in deliveries:
        usable = _usable(delivery)
        for name, value in delivery.fields.items():
            if name in usable or name not in payload or (is_empty(payload[name]) and not is_empty(value)):
                payload[name], source[name] = value, delivery
        spelling.update(_spelt(delivery, usable))
    fields = {name: value for name, value in payload.items() if spelling.get(fold_name(name), name) == name}
    notes = (note for delivery in deliveries for note in delivery.notes if _stands(note, delivery, source))
    return Merged(payload, fields, list(dict.fromkeys(notes)))


def still_counting(ordered: list[Delivery]) -> list[Delivery]:
    """Leave out those of the deliveries, given in order, that can make no difference any more, whatever else arrives.

    `merge` of what is returned is that of all, now and with any further deliveries. What stands of a field is its last usable
    value, else its first that is not empty, else its first: a delivery that holds none of these will never again. The first
    and the last delivery stay, because they say when the CDR was received.
    """
    if len(ordered) <= 2:
        return ordered
    counting = {0, len(ordered) - 1}
    first_sent: dict[str, int] = {}
    first_said: dict[str, int] = {}
    first_noted: dict[str, int] = {}
    last_usable: dict[str, int] = {}
    last_spelt: dict[str, int] = {}
    for place, delivery in enumerate(ordered):
        usable = _usable(delivery)
        for name, value in delivery.fields.items():
            first_sent.setdefault(name, place)
            if name in usable or not is_empty(value):
                first_said.setdefault(name, place)
        last_usable.update(dict.fromkeys(usable, place))
        last_spelt.update(dict.fromkeys(_spelt(delivery, usable), place))
        for note in delivery.notes:
            if note.partition(": ")[0] not in delivery.fields:
                first_noted.setdefault(note, place)
    for places in (first_sent, first_said, first_noted, last_usable, last_spelt):
        counting.update(places.values())
    return [ordered[place] for place in sorted(counting)]


def _usable(delivery: Delivery) -> set[str]:
    return {name for name, value in delivery.fields.items() if is_usable(name, value)}


def _spelt(delivery: Delivery, usable: set[str]) -> dict[str, str]:
    """Return by its folded name each spelling of this delivery that replaces earlier ones."""
    if shape_of(delivery.fields).is_plain:
        return {fold_name(name): name for name in usable}
    return {folded: name for folded, name in _spoken(delivery) if name in usable}


def _spoken(delivery: Delivery) -> list[tuple[str, str]]:
    """Pair each folded name with the spelling that counts in this delivery, as it does in one that came alone.

    The order of the fields must not decide, because a delivery that was read back from the database has lost it.
    """
    names = sorted((name for name, value in delivery.fields.items() if not is_empty(value)), reverse=True)
    return list({fold_name(name): name for name in names}.items())


def _stands(note: str, delivery: Delivery, source: dict[str, Delivery]) -> bool:
    name = note.partition(": ")[0]
    return source.get(name, delivery) is delivery
