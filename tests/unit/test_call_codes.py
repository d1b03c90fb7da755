"""The provider's codes become our vocabulary, and codes nobody knows survive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.call_codes import (
    CALL_TYPES,
    DISPOSITIONS,
    OUTCOMES,
    CallType,
    call_type_name,
    direction_of,
    disposition_name,
    known_call_type,
    outcome_of,
)

# Name, numeric id, direction, leg and family, as the specification and the call log API have them.
TYPES_OF_THE_SPECIFICATION = [
    ("Incoming Call", 1, "incoming", None, None),
    ("CC", 2, "outgoing", None, None),
    ("Extension Outgoing", 4, "outgoing", None, None),
    ("Queue", 8, "incoming", None, None),
    ("Click2Call leg1", 9, "outgoing", 1, "click2call"),
    ("Click2Call leg2", 10, "outgoing", 2, "click2call"),
    ("VoiceMail", 11, "incoming", None, None),
    ("Callference", 12, None, None, None),
    ("XferCDR", 13, None, None, None),
    ("ProductiveCall Leg1", 14, "outgoing", 1, "productive_call"),
    ("ProductiveCall Leg2", 15, "outgoing", 2, "productive_call"),
    ("Scrubber", 16, "outgoing", None, None),
    ("Click 2 IVR", 17, "outgoing", 1, "predictive"),
    ("Click 2 IVR Incoming", 18, "outgoing", 2, "predictive"),
    ("Click 2 Queue Incoming", 19, "outgoing", 2, "predictive"),
    ("FaxCdr", 20, "outgoing", None, None),
    ("Attended CDR leg1", 21, None, 1, "attended"),
    ("Attended CDR leg2", 22, None, 2, "attended"),
    ("Auto forward", 23, None, None, None),
]

OUTCOME_BY_DISPOSITION = {
    "NOTDIALED": "not_attempted",
    "ANSWER": "answered",
    "BUSY": "busy",
    "NOANSWER": "no_answer",
    "CANCEL": "cancelled",
    "ABANDONE": "abandoned",
    "VOEND": "ivr_drop",
    "TE": "ivr_played",
    "NOTCALLED": "not_attempted",
    "VOICEMAIL": "machine",
    "CONGESTION": "failed",
    "CHANUNAVAIL": "failed",
    "INVALIDARGS": "failed",
    "SSWPREAUTH": "failed",
    "TIMEOUT": "timed_out",
    "FULL": "saturated",
    "EXIT": "exited",
    "JOINEMPTY": "blocked",
}


def test_the_call_types_are_those_of_the_specification_in_its_order() -> None:
    rows = [(row.name, *row.numeric_ids, row.direction, row.leg, row.leg_family) for row in CALL_TYPES]
    assert rows == TYPES_OF_THE_SPECIFICATION


def test_only_the_two_queue_types_are_queues() -> None:
    assert [row.name for row in CALL_TYPES if row.is_queue] == ["Queue", "Click 2 Queue Incoming"]


def test_only_voice_mail_is_voice_mail() -> None:
    assert [row.name for row in CALL_TYPES if row.is_voice_mail] == ["VoiceMail"]


def test_every_code_says_what_it_means() -> None:
    assert all(row.description.endswith(".") for row in (*CALL_TYPES, *DISPOSITIONS))


def test_the_dispositions_are_those_of_the_documents_each_once() -> None:
    assert {row.name: row.outcome for row in DISPOSITIONS} == OUTCOME_BY_DISPOSITION
    assert len(DISPOSITIONS) == len(OUTCOME_BY_DISPOSITION)


def test_notdialed_is_one_row_that_tells_both_meanings() -> None:
    (row,) = [row for row in DISPOSITIONS if row.name == "NOTDIALED"]
    assert row.description.startswith("Two meanings")


def test_every_outcome_but_other_has_a_disposition() -> None:
    assert {row.outcome for row in DISPOSITIONS} | {"other"} == set(OUTCOMES)


@pytest.mark.parametrize("row", CALL_TYPES, ids=lambda row: row.name)
def test_a_type_is_known_in_any_case_and_spacing_and_by_number(row: CallType) -> None:
    squeezed = row.name.replace(" ", "")
    spaced = " ".join(row.name)
    sent = [row.name, row.name.upper(), row.name.lower(), squeezed, spaced, f" {squeezed}\t"]
    sent += [str(number) for number in row.numeric_ids] + [f" {row.numeric_ids[0]} "]
    assert {call_type_name(text) for text in sent} == {row.name}


@pytest.mark.parametrize("sent", ["Click2Callleg1", " Click2Callleg1"])
def test_the_specifications_own_misspellings_are_known(sent: str) -> None:
    assert call_type_name(sent) == "Click2Call leg1"


@pytest.mark.parametrize("sent", ["Video Call", "3", "99", "Queue2", "תור"])
def test_an_unknown_type_is_kept_as_sent_but_trimmed(sent: str) -> None:
    assert call_type_name(f"  {sent}\n") == sent
    assert known_call_type(sent) is None


@pytest.mark.parametrize("name", [None, "", "  "])
def test_no_type_is_no_known_type(name: str | None) -> None:
    assert known_call_type(name) is None


@pytest.mark.parametrize("name", OUTCOME_BY_DISPOSITION)
def test_a_disposition_is_known_in_any_case_and_spacing(name: str) -> None:
    assert {disposition_name(text) for text in (name, name.lower(), f" {name} ", " ".join(name))} == {name}


def test_an_unknown_disposition_is_kept_as_sent_but_trimmed() -> None:
    assert disposition_name(" Rerouted ") == "Rerouted"


@pytest.mark.parametrize(("disposition", "outcome"), OUTCOME_BY_DISPOSITION.items())
@pytest.mark.parametrize("is_answered", [None, False])
def test_the_disposition_decides_the_outcome_unless_answered_is_true(
    disposition: str, outcome: str, is_answered: bool | None
) -> None:
    assert outcome_of(disposition, "Incoming Call", is_answered) == outcome


@pytest.mark.parametrize("disposition", [None, "", "Rerouted"])
def test_a_missing_or_unknown_disposition_is_other(disposition: str | None) -> None:
    assert outcome_of(disposition, "Queue", None) == "other"


@pytest.mark.parametrize("disposition", [*set(OUTCOME_BY_DISPOSITION) - {"VOICEMAIL"}, None, "Rerouted"])
def test_is_answered_overrules_every_disposition_but_voice_mail(disposition: str | None) -> None:
    assert outcome_of(disposition, "Queue", is_answered=True) == "answered"


def test_a_voice_mail_disposition_stays_a_machine_when_answered() -> None:
    assert outcome_of("voicemail", "Queue", is_answered=True) == "machine"


@pytest.mark.parametrize(("disposition", "is_answered"), [("ANSWER", None), ("ANSWER", True), ("CANCEL", True)])
def test_an_answer_on_the_voice_mail_type_is_a_machine(disposition: str | None, is_answered: bool | None) -> None:
    assert outcome_of(disposition, "voice mail", is_answered) == "machine"


def test_an_unanswered_call_of_the_voice_mail_type_keeps_its_own_outcome() -> None:
    assert outcome_of("CANCEL", "VoiceMail", is_answered=None) == "cancelled"


@pytest.mark.parametrize(
    ("sent", "direction"),
    [
        ("incoming", "incoming"),
        (" Incoming ", "incoming"),
        ("INBOUND", "incoming"),
        ("outgoing", "outgoing"),
        ("Outbound", "outgoing"),
        ("Internal", "internal"),
    ],
)
@pytest.mark.parametrize("call_type", [None, "Queue", "Extension Outgoing"])
def test_a_direction_that_was_sent_wins_over_the_type(sent: str, direction: str, call_type: str | None) -> None:
    assert direction_of(sent, call_type) == direction


@pytest.mark.parametrize("sent", [None, "", "sideways"])
@pytest.mark.parametrize("row", CALL_TYPES, ids=lambda row: row.name)
def test_without_a_usable_direction_the_type_tells(sent: str | None, row: CallType) -> None:
    assert direction_of(sent, row.name) == row.direction


def test_without_direction_and_known_type_there_is_none() -> None:
    assert direction_of(None, None) is None
    assert direction_of(None, "Video Call") is None


@given(st.text())
def test_any_text_has_a_name_that_stays_its_name(text: str) -> None:
    assert call_type_name(call_type_name(text)) == call_type_name(text)
    assert disposition_name(disposition_name(text)) == disposition_name(text)
    assert outcome_of(text, text, is_answered=None) in OUTCOMES
