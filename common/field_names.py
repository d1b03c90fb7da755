"""The only place where the provider's names become ours: in any spelling, and what a whole set of them means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from common.field_values import READERS, Reader, json_object, text

# The provider's names, folded to lower case letters and digits, and the field of ours that each one is. Where two
# name one field the first that has a value is taken, in this order.
_SYNONYMS = {
    "ivruniqueid": "call_id",
    "callid": "call_id",
    "originalivruniqueid": "original_call_id",
    "type": "call_type",
    "status": "disposition",
    "direction": "direction",
    "isanswer": "is_answered",
    "time": "time_raw",
    "duration": "duration_seconds",
    "actualcallduration": "actual_talk_seconds",
    "dialtime": "dial_seconds",
    "actualcalldialtime": "actual_ring_seconds",
    "secondswaitinginqueue": "queue_wait_seconds",
    "caller": "caller_number",
    "callerphone": "caller_number",
    "target": "called_party",
    "did": "did_number",
    "queueid": "acd_queue_id",
    "queuename": "acd_queue_name",
    "callerextension": "caller_extension_code",
    "callerextensionname": "caller_extension_name",
    "targetextension": "answering_extension_code",
    "targetextensionname": "answering_extension_name",
    "representativecode": "agent_code",
    "representativename": "agent_name",
    "callercountry": "caller_country_sent",
    "targetcountry": "called_country_sent",
    "price": "price_agorot",
    "record": "recording_url",
    "ivr": "ivr_path",
    "aidata": "ai",
}
_CUSTOM_DATA = "customdata"
_LONGEST_CACHED_NAME = 64
# What is known of a sender's sets of names must not hold on to more than the names of real CDRs.
_LONGEST_CACHED_SHAPE = 4096
_MOST_CACHED_SHAPES = 256
# Room for any way to spell a field of ours; what is longer is none, and not worth folding.
_LONGEST_NAME = 256
_NO_LETTERS_OR_DIGITS = re.compile(r"[\W_]+")
_RANK = {folded: rank for rank, folded in enumerate(_SYNONYMS)}


def fold_name(name: str) -> str:
    """Reduce a field's name to lower case letters and digits: `IVR_UNIQUE_ID` and `ivrunique-id` are one."""
    # A sender's names are few and short; the cache must not hold on to one of megabytes.
    return _folded(name) if len(name) <= _LONGEST_CACHED_NAME else _fold(name)


def _fold(name: str) -> str:
    return _NO_LETTERS_OR_DIGITS.sub("", name.lower())


_folded = lru_cache(maxsize=4096)(_fold)


class Shape(NamedTuple):
    """What the names of a CDR's fields mean; a sender has a few sets of them.

    `steps` are each field of ours that was sent, the name that it was sent under, and what reads its value; `sent_names` are
    the first two of these. `rivals` are all the names of those that came under several, in the synonyms' order and then their
    own: the first stands in `steps`, and whether another counts only the values tell. `is_plain` when no two are spellings of
    one name. `custom` are those that hold custom data, `variables` those that are a piece of it.
    """

    steps: tuple[tuple[str, str, Reader], ...]
    sent_names: Mapping[str, str]
    rivals: tuple[tuple[str, tuple[str, ...]], ...]
    is_plain: bool
    custom: tuple[str, ...]
    variables: tuple[str, ...]


# Not an lru_cache: whether a set is short enough to keep would have to be found before each look, and costs more than it.
_known_shapes: dict[tuple[str, ...], Shape] = {}


def shape_of(fields: Iterable[str]) -> Shape:
    """Return what a CDR's names mean; found once for each set of names that is not too long to keep."""
    names = tuple(fields)
    shape = _known_shapes.get(names)
    if shape is None:
        shape = _find_shape(names)
        if sum(map(len, names)) <= _LONGEST_CACHED_SHAPE:
            if len(_known_shapes) >= _MOST_CACHED_SHAPES:
                _known_shapes.clear()
            _known_shapes[names] = shape
    return shape


def _find_shape(sent: tuple[str, ...]) -> Shape:
    ours: dict[str, list[str]] = {}
    for name in sent:
        if (field_of_ours := our_name(name)) is not None:
            ours.setdefault(field_of_ours, []).append(name)
    for spellings in ours.values():
        spellings.sort(key=lambda name: (_RANK[fold_name(name)], name))
    folded = [fold_name(name) for name in sent]
    return Shape(
        tuple((field_of_ours, names[0], READERS.get(field_of_ours, text)) for field_of_ours, names in ours.items()),
        {field_of_ours: names[0] for field_of_ours, names in ours.items()},
        tuple((field_of_ours, tuple(names)) for field_of_ours, names in ours.items() if len(names) > 1),
        len(set(folded)) == len(folded),
        tuple(sorted(name for name, known_as in zip(sent, folded, strict=True) if known_as == _CUSTOM_DATA)),
        tuple(sorted(name for name in sent if name[:4].lower() == "var_")),
    )


def our_name(name: str) -> str | None:
    """Return our field for the provider's, in any spelling; None for one that only the payload keeps."""
    return _SYNONYMS.get(fold_name(name)) if len(name) <= _LONGEST_NAME else None


def reader_of(name: str) -> Reader | None:
    """Return what reads a field's value, by the provider's name; None for one that only the payload keeps."""
    return _known_reader(name) if len(name) <= _LONGEST_CACHED_NAME else _find_reader(name)


def _find_reader(name: str) -> Reader | None:
    if fold_name(name) == _CUSTOM_DATA:
        return json_object
    field_of_ours = our_name(name)
    return None if field_of_ours is None else READERS.get(field_of_ours, text)


_known_reader = lru_cache(maxsize=4096)(_find_reader)
