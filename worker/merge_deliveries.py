"""Folds the deliveries of one CDR into what is known of it: a later value wins, an empty one never erases."""

from __future__ import annotations

from typing import Any, NamedTuple

from common.cdr import is_usable
from common.delivery import Delivery
from common.field_names import fold_name
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
        for name, value in delivery.fields.items():
            says_more = is_empty(payload.get(name)) and not is_empty(value)
            if name not in payload or says_more or is_usable(name, value):
                payload[name], source[name] = value, delivery
        spelling.update(_spelt(delivery))
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
    first: dict[tuple[str, str], int] = {}
    last: dict[tuple[str, str], int] = {}
    for place, delivery in enumerate(ordered):
        for name, value in delivery.fields.items():
            first.setdefault(("sent", name), place)
            if not is_empty(value):
                first.setdefault(("said", name), place)
            if is_usable(name, value):
                last["usable", name] = place
        last.update((("spelt", folded), place) for folded in _spelt(delivery))
        for note in delivery.notes:
            if note.partition(": ")[0] not in delivery.fields:
                first.setdefault(("noted", note), place)
    counting.update(first.values(), last.values())
    return [ordered[place] for place in sorted(counting)]


def _spelt(delivery: Delivery) -> dict[str, str]:
    """Return by its folded name each spelling of this delivery that replaces earlier ones."""
    return {folded: name for folded, name in _spoken(delivery) if is_usable(name, delivery.fields[name])}


def _spoken(delivery: Delivery) -> list[tuple[str, str]]:
    """Pair each folded name with the spelling that counts in this delivery, as it does in one that came alone.

    The order of the fields must not decide, because a delivery that was read back from the database has lost it.
    """
    names = sorted((name for name, value in delivery.fields.items() if not is_empty(value)), reverse=True)
    return list({fold_name(name): name for name in names}.items())


def _stands(note: str, delivery: Delivery, source: dict[str, Delivery]) -> bool:
    name = note.partition(": ")[0]
    return source.get(name, delivery) is delivery
