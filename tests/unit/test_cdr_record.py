"""Every field of the provider, in every spelling that was met, becomes the attribute that is ours."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_field_values import ANY_VALUE, one_line

from common.cdr import Cdr, find_call_id, is_usable, read_cdr, sends_call_id
from common.errors import NotACdr
from common.field_names import fold_name, our_name
from common.field_values import READERS, is_empty, json_object, text

NOW = datetime(2026, 11, 23, tzinfo=UTC)
ID = "201809131615530APIAPI-APIAac40c3d53"

# The specification's 23 fields: the name, what was sent, our attribute and its value.
SPECIFICATION = [
    ("caller", "0722776772", "caller_number", "0722776772"),
    ("target", "AAPINFzL", "called_party", "AAPINFzL"),
    ("time", 1536855354, "time_raw", 1536855354),
    ("duration", 33, "duration_seconds", 33),
    ("ivruniqueid", ID, "call_id", ID),
    ("type", " Click2Callleg1", "call_type", "Click2Call leg1"),
    ("status", "abandone", "disposition", "ABANDONE"),
    ("targetextension", "AAPINFzL", "answering_extension_code", "AAPINFzL"),
    ("callerextension", "AAPINFzL", "caller_extension_code", "AAPINFzL"),
    ("did", "0722776772", "did_number", "0722776772"),
    ("queueid", 12345, "acd_queue_id", 12345),
    ("queuename", "Service Queue", "acd_queue_name", "Service Queue"),
    ("record", "http://store.invalid/a.mp3", "recording_url", "http://store.invalid/a.mp3"),
    ("price", 7, "price_agorot", Decimal(7)),
    ("dialtime", 23, "dial_seconds", 23),
    ("representative_name", "Walter Melon", "agent_name", "Walter Melon"),
    ("representative_code", "9996 ", "agent_code", "9996"),
    ("targetextension_name", "Walter Melon", "answering_extension_name", "Walter Melon"),
    ("callerextension_name", "Walter Melon", "caller_extension_name", "Walter Melon"),
    ("target_country", "Israel", "called_country_sent", "Israel"),
    ("caller_country", "Israel", "caller_country_sent", "Israel"),
    ("seconds_waiting_in_queue", 5, "queue_wait_seconds", 5),
    ("OriginalivrUniqueID", "201809131730110122APIAPI-API ", "original_call_id", "201809131730110122APIAPI-API"),
]
# What later documents and consumers add.
BEYOND = [
    ("direction", "Incoming", "direction", "Incoming"),
    ("isAnswer", 1, "is_answered", True),
    ("actualCallDuration", "20", "actual_talk_seconds", 20),
    ("actualCallDialtime", 9, "actual_ring_seconds", 9),
    ("callerPhone", "0722776772", "caller_number", "0722776772"),
    ("IVR", '[{"layer_id": 3}]', "ivr_path", [{"layer_id": 3}]),
    ("aiData", {"insights": {"score": 1}}, "ai", {"insights": {"score": 1}}),
    ("CustomData", '{"order": 5}', "custom", {"order": 5}),
    ("CUSTOM_DATA", {"order": 5}, "custom", {"order": 5}),
    ("var_order", "5", "custom", {"var_order": "5"}),
]
SPELLINGS = [
    "ivruniqueid",
    "IvrUniqueID",
    "ivrunique-id",
    "IVR_UNIQUE_ID",
    "CallID",
    "callid",
    "call_id",
    " Ivr Unique ID ",
]
TEXTS = [name for name, value, *_ in SPECIFICATION if isinstance(value, str) and name not in ("ivruniqueid", "record")]
NUMBERS = ["time", "duration", "queueid", "price", "dialtime", "seconds_waiting_in_queue", "actualCallDuration"]
NAMES = [name for name, *_ in SPECIFICATION + BEYOND] + ["CallID", "dialerData", "DepartmentName", "unheard_of"]

SOME_TEXTS = st.sampled_from(["", "  ", " a b\n", "\xa0", " 7 ", "0", "null", '{"a": 1}', "https://x.invalid"])


def read(**fields: Any) -> Cdr:
    fields = {"ivruniqueid": ID, **fields}
    return read_cdr("default", NOW, fields, fields)


def test_the_specification_has_23_fields() -> None:
    assert len(SPECIFICATION) == 23


@pytest.mark.parametrize(("name", "sent", "attribute", "expected"), SPECIFICATION + BEYOND)
def test_a_field_of_the_provider_becomes_ours(name: str, sent: Any, attribute: str, expected: Any) -> None:
    assert getattr(read(**{name: sent}), attribute) == expected


@pytest.mark.parametrize(("name", "sent", "attribute", "expected"), SPECIFICATION)
def test_case_and_punctuation_of_a_name_do_not_matter(name: str, sent: Any, attribute: str, expected: Any) -> None:
    spelled = "-".join(name.upper().replace("_", ""))
    fields = {spelled: sent} if name == "ivruniqueid" else {"ivruniqueid": ID, spelled: sent}
    assert getattr(read_cdr("default", NOW, fields, fields), attribute) == expected


@pytest.mark.parametrize(("name", "sent", "attribute", "expected"), SPECIFICATION)
def test_a_form_sends_numbers_as_texts(name: str, sent: Any, attribute: str, expected: Any) -> None:
    assert getattr(read(**{name: str(sent)}), attribute) == expected


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_call_id_is_found_in_every_spelling(spelling: str) -> None:
    assert find_call_id({spelling: f" {ID} "}) == ID


@pytest.mark.parametrize("order", [("ivruniqueid", "CallID"), ("CallID", "ivruniqueid")])
def test_ivruniqueid_counts_more_than_callid(order: tuple[str, str]) -> None:
    values = {"ivruniqueid": "mine", "CallID": "other"}
    assert find_call_id({name: values[name] for name in order}) == "mine"


@pytest.mark.parametrize("empty", ["", " ", None, [], {}])
def test_an_empty_ivruniqueid_gives_way_to_a_callid(empty: Any) -> None:
    assert find_call_id({"ivruniqueid": empty, "CallID": "other"}) == "other"


def test_a_call_id_inside_dialer_data_is_the_dialers_own() -> None:
    with pytest.raises(NotACdr):
        find_call_id({"dialerData": {"CallID": "the dialer's"}})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "no call id: ivruniqueid is missing"),
        ({"Call_ID": ["x"]}, "no call id: Call_ID is not a text: ['x']"),
        ({"ivruniqueid": " "}, "no call id: ivruniqueid is missing"),
        ({"ivruniqueid": ["x"]}, "no call id: ivruniqueid is not a text: ['x']"),
        ({"ivruniqueid": "x" * 513}, "no call id: ivruniqueid is not a call id: 513 characters, 512 at most"),
    ],
)
def test_fields_without_a_call_id_are_no_cdr(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(NotACdr) as caught:
        find_call_id(fields)
    assert str(caught.value) == message


@pytest.mark.parametrize("value", [None, "", "a\x01b", ["x"]])
def test_no_record_is_made_without_a_call_id(value: Any) -> None:
    with pytest.raises(NotACdr):
        read_cdr("default", NOW, {"ivruniqueid": value}, {})


@pytest.mark.parametrize(
    ("value", "sends"), [("x", True), ("x" * 999, True), (["x"], True), ("", False), (None, False)]
)
def test_a_call_id_that_cannot_be_used_was_sent_all_the_same(value: Any, sends: bool) -> None:
    assert sends_call_id({"IVR_UNIQUE_ID": value}) is sends


def test_caller_counts_more_than_caller_phone() -> None:
    assert read(callerPhone="1", caller="2").caller_number == "2"


@pytest.mark.parametrize("empty", ["", None])
def test_caller_phone_fills_a_missing_caller(empty: Any) -> None:
    assert read(caller=empty, callerPhone="0722776772").caller_number == "0722776772"


def test_of_two_spellings_the_one_with_a_value_counts() -> None:
    cdr = read(QueueName="", queuename="Sales")
    assert (cdr.acd_queue_name, cdr.problems) == ("Sales", {})


@pytest.mark.parametrize("order", [("caller-phone", "callerPhone"), ("callerPhone", "caller-phone")])
def test_of_two_spellings_with_values_the_other_leaves_a_line(order: tuple[str, str]) -> None:
    values = {"caller-phone": "1", "callerPhone": "2"}
    cdr = read(**{name: values[name] for name in order})
    assert cdr.caller_number == "1"
    assert list(cdr.problems.values()) == ["callerPhone: not taken, caller-phone is the same field: '2'"]


@pytest.mark.parametrize(
    "fields", [{"caller": "1", "callerPhone": "2"}, {"caller": "1", "Caller": "1"}, {"x": 1, "X": 2}]
)
def test_a_synonym_an_equal_value_and_a_field_of_no_column_leave_no_line(fields: dict[str, Any]) -> None:
    assert read(**fields).problems == {}


@given(st.permutations([("QUEUE_NAME", "a"), ("QueueName", "b"), ("queuename", "c"), ("queue-name", "")]))
def test_the_order_of_spellings_does_not_count(pairs: list[tuple[str, str]]) -> None:
    assert read(**dict(pairs)).acd_queue_name == "a"


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("bad", [["a"], {"a": 1}, True])
def test_a_text_that_is_none_is_null_with_a_line(name: str, bad: Any) -> None:
    cdr = read(**{name: bad})
    ours = our_name(name) or ""
    assert getattr(cdr, ours) is None
    assert cdr.problems == {ours: f"{name}: not a text: {bad!r}"}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("bad", ["abc", ["a"], {"a": 1}, True])
def test_a_number_that_is_none_is_null_with_a_line(name: str, bad: Any) -> None:
    cdr = read(**{name: bad})
    ours = our_name(name) or ""
    assert getattr(cdr, ours) is None
    assert cdr.problems[ours].startswith(f"{name}: not a")


def test_a_line_names_the_field_as_it_was_sent() -> None:
    assert read(DIAL_TIME="long").problems == {"dial_seconds": "DIAL_TIME: not a number of seconds: 'long'"}


def test_a_bad_value_harms_no_other_field() -> None:
    cdr = read(duration="long", dialtime=5, caller="0540000000")
    assert (cdr.duration_seconds, cdr.dial_seconds, cdr.caller_number) == (None, 5, "0540000000")


def test_queue_0_is_no_queue_and_no_problem() -> None:
    cdr = read(queueid=0)
    assert (cdr.acd_queue_id, cdr.problems) == (None, {})


def test_a_type_sent_as_its_number_is_named() -> None:
    assert read(type=9).call_type == "Click2Call leg1"


def test_an_unknown_type_and_status_are_kept_as_sent() -> None:
    cdr = read(type=" Video Call ", status="WORMHOLE")
    assert (cdr.call_type, cdr.disposition) == ("Video Call", "WORMHOLE")


def test_all_custom_data_is_one_object() -> None:
    cdr = read(CustomData='{"a": 1, "b": 1}', CUSTOM_DATA={"a": 2, "c": 2}, var_d="3", VAR_e=None)
    assert cdr.custom == {"a": 1, "b": 1, "c": 2, "var_d": "3", "VAR_e": None}


@pytest.mark.parametrize("empty", ["", None, {}, "{}", "null"])
def test_no_custom_data_is_null(empty: Any) -> None:
    cdr = read(CustomData=empty)
    assert (cdr.custom, cdr.problems) == (None, {})


@pytest.mark.parametrize("bad", ["not json", "[1]", "5", [1], True])
def test_custom_data_that_is_no_object_stays_in_the_payload_with_a_line(bad: Any) -> None:
    cdr = read(CustomData=bad, var_a="1")
    assert cdr.custom == {"var_a": "1"}
    assert [line.partition(":")[0] for line in cdr.problems.values()] == ["CustomData"]
    assert cdr.payload["CustomData"] == bad


def test_fields_that_nobody_knows_stay_in_the_payload_alone() -> None:
    cdr = read(DepartmentName="Sales", DoNotCallMe=1)
    assert cdr.problems == {}
    assert cdr.payload["DepartmentName"] == "Sales"


@given(st.dictionaries(st.sampled_from(NAMES) | st.text(), ANY_VALUE))
def test_whatever_is_sent_is_read_or_is_no_cdr(fields: dict[str, Any]) -> None:
    try:
        lines = list(read_cdr("default", NOW, fields, fields).problems.values())
    except NotACdr as error:
        lines = [str(error)]
    assert all(not line or one_line(line) for line in lines)
    assert all(line.partition(": ")[0] in {*fields, "ivruniqueid"} for line in lines)


@given(st.dictionaries(st.sampled_from(NAMES), ANY_VALUE))
def test_what_names_its_call_is_read(fields: dict[str, Any]) -> None:
    try:
        call_id = find_call_id(fields)
    except NotACdr:
        with pytest.raises(NotACdr):
            read_cdr("default", NOW, fields, fields)
    else:
        assert read_cdr("default", NOW, fields, fields).call_id == call_id


@given(st.sampled_from(NAMES), SOME_TEXTS | ANY_VALUE)
def test_a_value_is_usable_when_it_is_not_empty_and_its_reader_takes_it(name: str, value: Any) -> None:
    ours = our_name(name)
    reader = json_object if fold_name(name) == "customdata" else READERS.get(ours or "", text)
    taken = not is_empty(value) and ((ours is None and reader is text) or reader(value)[0] is not None)
    assert is_usable(name, value) is taken


@pytest.mark.parametrize(
    ("name", "value", "usable"),
    [
        ("queueid", 0, False),
        ("queueid", 5, True),
        ("duration", 0, True),
        ("duration", "long", False),
        ("caller", "", False),
        ("unheard_of", 0, True),
        ("unheard_of", "", False),
        ("record", "ftp://store.invalid", False),
    ],
)
def test_a_value_is_usable_when_its_column_takes_it(name: str, value: Any, usable: bool) -> None:
    assert is_usable(name, value) is usable


@given(st.text(min_size=1))
def test_folding_a_name_twice_changes_nothing(name: str) -> None:
    assert fold_name(fold_name(name)) == fold_name(name)


@given(st.text())
def test_folding_keeps_letters_and_digits_of_any_alphabet(name: str) -> None:
    assert fold_name(name) == "".join(character for character in name.lower() if character.isalnum())


@given(st.dictionaries(st.sampled_from(NAMES), SOME_TEXTS | ANY_VALUE))
def test_each_field_is_what_its_reader_makes_of_it(fields: dict[str, Any]) -> None:
    fields = {**fields, "ivruniqueid": ID}
    cdr = read_cdr("default", NOW, fields, fields)
    for ours, name in cdr.sent_names.items():
        reading, problem = READERS.get(ours, text)(fields[name])
        if ours not in {"call_type", "disposition"}:
            assert repr(getattr(cdr, ours)) == repr(reading)
        assert cdr.problems.get(ours) == (problem and f"{name}: {problem}")


@given(
    st.dictionaries(
        st.sampled_from([*SPELLINGS, "caller", "Caller", "callerPhone"]),
        st.sampled_from([None, "", "c", "d", True, [1], 7]),
    )
)
def test_of_several_names_the_best_usable_one_counts(sent: dict[str, Any]) -> None:
    fields = {**sent, "ivrUniqueId": ID}
    synonyms = ["ivruniqueid", "callid", "caller", "callerphone"]
    cdr = read_cdr("default", NOW, fields, fields)
    for ours, name in cdr.sent_names.items():
        rivals = [rival for rival in fields if our_name(rival) == ours]
        rank = {each: (not is_usable(each, fields[each]), synonyms.index(fold_name(each)), each) for each in rivals}
        assert name == min(rivals, key=rank.__getitem__)


def test_a_name_longer_than_any_spelling_is_no_field_of_ours() -> None:
    assert our_name("-" * 252 + "time") == "time_raw"
    assert our_name("-" * 253 + "time") is None


def test_a_huge_name_is_folded_and_not_remembered() -> None:
    from common.field_names import _folded

    before = _folded.cache_info().currsize
    assert fold_name("Var_" * 100_000) == "var" * 100_000
    assert _folded.cache_info().currsize == before


def test_a_huge_set_of_names_is_read_and_not_remembered() -> None:
    from common.field_names import _known_shapes

    before = set(_known_shapes)
    fields = {"ivruniqueid": "c", **{f"var_{number}": number for number in range(1000)}}
    assert read_cdr("acme", NOW, fields, fields).custom == {f"var_{number}": number for number in range(1000)}
    assert set(_known_shapes) == before


def test_of_many_sets_of_names_a_few_are_remembered() -> None:
    from common.field_names import _MOST_CACHED_SHAPES, _known_shapes

    for number in range(2 * _MOST_CACHED_SHAPES):
        fields = {"ivruniqueid": "c", f"var_{number}": number}
        assert read_cdr("acme", NOW, fields, fields).custom == {f"var_{number}": number}
        assert len(_known_shapes) <= _MOST_CACHED_SHAPES


def test_what_one_set_of_names_means_is_not_what_its_values_are() -> None:
    first = read_cdr("acme", NOW, fields := {"ivruniqueid": "", "CallID": "c", "var_x": 1}, fields)
    second = read_cdr("acme", NOW, fields := {"ivruniqueid": "d", "CallID": "e", "var_x": 2}, fields)
    assert (first.call_id, second.call_id, first.custom, second.custom) == ("c", "d", {"var_x": 1}, {"var_x": 2})


def test_a_refused_caller_does_not_hide_the_caller_phone() -> None:
    record = read_cdr("acme", NOW, fields := {"ivruniqueid": "c", "caller": [1], "callerPhone": "0722776772"}, fields)
    assert record.caller_number == "0722776772"


@pytest.mark.parametrize("none", ["0", 0, "null", "NULL", "", None])
def test_an_original_call_that_is_none_joins_no_calls(none: Any) -> None:
    record = read_cdr("acme", NOW, fields := {"ivruniqueid": "c", "OriginalivrUniqueID": none}, fields)
    assert record.original_call_id is None
    assert not record.problems


@pytest.mark.parametrize(
    ("sent", "usable"), [("not JSON", False), ("[1]", False), ('{"a": 1}', True), ({"a": 1}, True)]
)
def test_custom_data_is_usable_when_it_is_an_object(sent: Any, usable: bool) -> None:
    assert is_usable("CUSTOM_DATA", sent) is usable
