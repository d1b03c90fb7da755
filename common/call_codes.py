"""Call types, dispositions, outcomes and directions: the provider's codes in, our vocabulary out.

Names are matched without case and white space, and a call type by its numeric id too. A value that the
tables do not know is kept as it was sent, trimmed: the provider adds new ones without notice.
"""

from __future__ import annotations

from common.call_code_tables import CALL_TYPES, DISPOSITIONS, OUTCOMES, CallType, Disposition

__all__ = [
    "CALL_TYPES",
    "DISPOSITIONS",
    "OUTCOMES",
    "CallType",
    "Disposition",
    "call_type_name",
    "direction_of",
    "disposition_name",
    "fold",
    "folded_type_name",
    "known_call_type",
    "outcome_of",
]

_DIRECTIONS = {
    "incoming": "incoming",
    "inbound": "incoming",
    "outgoing": "outgoing",
    "outbound": "outgoing",
    "internal": "internal",
}


def fold(text: str) -> str:
    """Reduce a name to what counts when names are compared: no white space, no case."""
    return "".join(text.split()).casefold()


def _types_by_spelling() -> dict[str, CallType]:
    table = {}
    for call_type in CALL_TYPES:
        spellings = (call_type.name, fold(call_type.name), *map(str, call_type.numeric_ids))
        table.update(dict.fromkeys(spellings, call_type))
    return table


# The exact spelling is a key beside the folded one, so that the usual CDR costs one lookup and no folding.
_TYPES = _types_by_spelling()
_FOLDED_TYPES = {spelling: fold(call_type.name) for spelling, call_type in _TYPES.items()}
_DISPOSITIONS = {key: entry for entry in DISPOSITIONS for key in (entry.name, fold(entry.name))}


def known_call_type(name: str | None) -> CallType | None:
    """Find a call type by its name in any spelling, or by its numeric id as text; None if it is unknown."""
    if name is None:
        return None
    return _TYPES.get(name) or _TYPES.get(fold(name))


def call_type_name(sent: str) -> str:
    """Return the specification's spelling of a call type, or what was sent, trimmed, if it is unknown."""
    call_type = known_call_type(sent)
    return call_type.name if call_type else sent.strip()


def folded_type_name(sent: str) -> str:
    """Return the name of a call type as it is compared, the same for every spelling of it."""
    return _FOLDED_TYPES.get(sent) or fold(call_type_name(sent))


def disposition_name(sent: str) -> str:
    """Return the specification's spelling of a disposition, or what was sent, trimmed, if it is unknown."""
    disposition = _known_disposition(sent)
    return disposition.name if disposition else sent.strip()


def outcome_of(disposition: str | None, call_type: str | None, is_answered: bool | None) -> str:
    """File a CDR under one of OUTCOMES.

    `is_answered` is the provider's isAnswer: True overrules the disposition, False and None change nothing.
    An answer by voice mail is `machine`, whether the disposition or the type says voice mail.
    """
    known = _known_disposition(disposition)
    outcome = known.outcome if known else "other"
    if is_answered and outcome != "machine":
        outcome = "answered"
    return "machine" if outcome == "answered" and _is_voice_mail(call_type) else outcome


def direction_of(sent: str | None, call_type: str | None) -> str | None:
    """Return incoming, outgoing, internal or None: as sent if it is a direction, else as the type implies."""
    direction = _DIRECTIONS.get(fold(sent)) if sent else None
    if direction:
        return direction
    known = known_call_type(call_type)
    return known.direction if known else None


def _known_disposition(name: str | None) -> Disposition | None:
    if name is None:
        return None
    return _DISPOSITIONS.get(name) or _DISPOSITIONS.get(fold(name))


def _is_voice_mail(call_type: str | None) -> bool:
    known = known_call_type(call_type)
    return known is not None and known.is_voice_mail
