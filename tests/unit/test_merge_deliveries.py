"""Of several deliveries of a CDR a later value wins, an empty one never erases, and a refused one is as good as empty."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.cdr import read_cdr
from common.delivery import Delivery
from worker.merge_deliveries import Merged, _spelt, _spoken, _usable, in_order, merge, still_counting


def delivery(place: int, fields: dict[str, Any], *notes: str) -> Delivery:
    return Delivery("0" * 32, place, place, "acme", "json", {"ivruniqueid": "c", **fields}, notes)


def merged(*fields: dict[str, Any]) -> Merged:
    return merge([delivery(place, each) for place, each in enumerate(fields)])


def test_a_later_value_wins() -> None:
    assert merged({"duration": 1}, {"duration": 2}).payload["duration"] == 2


@pytest.mark.parametrize("empty", [None, "", "  ", [], {}])
def test_an_empty_value_never_erases(empty: Any) -> None:
    assert merged({"aiData": {"a": 1}}, {"aiData": empty}).payload["aiData"] == {"a": 1}


def test_zero_is_a_value() -> None:
    assert merged({"duration": 1}, {"duration": 0}).payload["duration"] == 0


def test_queue_zero_is_none_and_erases_nothing() -> None:
    assert merged({"queueid": 7}, {"queueid": 0}).payload["queueid"] == 7


@pytest.mark.parametrize("refused", ["long", -1, ["a"], True])
def test_a_value_that_its_column_refuses_erases_nothing(refused: Any) -> None:
    assert merged({"duration": 1}, {"duration": refused}).payload["duration"] == 1


def test_a_refused_value_is_replaced_by_a_good_one() -> None:
    assert merged({"duration": "long"}, {"duration": 1}).payload["duration"] == 1


def test_a_refused_value_is_shown_in_place_of_nothing() -> None:
    assert merged({"duration": ""}, {"duration": "long"}, {"duration": None}).payload["duration"] == "long"


def test_a_later_spelling_of_a_field_wins() -> None:
    assert "duration" not in merged({"duration": 1}, {"Duration": 2}).fields


def test_the_payload_keeps_every_spelling() -> None:
    payload = merged({"duration": 1}, {"Duration": 2}).payload
    assert (payload["duration"], payload["Duration"]) == (1, 2)


def test_a_later_spelling_that_says_nothing_does_not_win() -> None:
    assert merged({"duration": 1}, {"Duration": ""}).fields["duration"] == 1


def test_of_two_spellings_in_one_delivery_the_same_counts_as_in_one_alone() -> None:
    both = {"Time": "soon", "time": 5}
    assert read(merge([delivery(0, both)])).time_raw == read(merged(both, {"did": "1"})).time_raw


def read(result: Merged) -> Any:
    from datetime import UTC, datetime

    return read_cdr("acme", datetime.now(UTC), result.fields, result.payload)


def test_a_note_on_a_value_that_was_replaced_goes() -> None:
    first = delivery(0, {"did": "1", "caller": "2"}, "did: NUL removed", "caller: NUL removed")
    assert merge([first, delivery(1, {"did": "3"})]).notes == ["caller: NUL removed"]


def test_a_note_on_a_value_that_did_not_stand_does_not_come() -> None:
    later = delivery(1, {"duration": "long"}, "duration: NUL removed")
    assert merge([delivery(0, {"duration": 1}), later]).notes == []


def test_a_note_on_no_field_stays() -> None:
    assert merge([delivery(0, {}, "broken XML mended"), delivery(1, {})]).notes == ["broken XML mended"]


def test_a_note_comes_once() -> None:
    assert merge([delivery(0, {}, "mended"), delivery(1, {}, "mended")]).notes == ["mended"]


def test_one_delivery_is_taken_as_it_is() -> None:
    only = delivery(0, {"duration": "long"}, "a note")
    assert merge([only]) == Merged(only.fields, only.fields, ["a note"])


NAMES = st.sampled_from(["duration", "Duration", "DURATION", "queueid", "record", "caller", "callerPhone", "custom"])
VALUES = st.sampled_from([None, "", " ", 0, 1, "2", "bad", [], [1], {}, "http://x.invalid", True])
DELIVERIES = st.lists(
    st.builds(
        lambda received, place, fields: Delivery(f"{place:032x}", place, received, "acme", "json", fields),
        st.integers(0, 3),
        st.integers(0, 9),
        st.dictionaries(NAMES, VALUES, max_size=6),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda each: each.place,
)


@given(DELIVERIES, st.randoms(use_true_random=False))
def test_the_order_in_which_deliveries_are_given_makes_no_difference(deliveries: list[Delivery], order: Any) -> None:
    shuffled = deliveries[:]
    order.shuffle(shuffled)
    assert merge(in_order(shuffled)) == merge(in_order(deliveries))


@given(DELIVERIES)
def test_the_order_of_the_fields_makes_no_difference(deliveries: list[Delivery]) -> None:
    # A delivery that was kept in the database comes back with its fields in another order.
    turned = [
        Delivery(each.delivery_id, each.place, each.received_at_us, "acme", "json", dict(sorted(each.fields.items())))
        for each in deliveries
    ]
    assert merge(in_order(turned)) == merge(in_order(deliveries))


@given(DELIVERIES)
def test_where_no_name_has_two_spellings_the_one_that_was_sent_counts(deliveries: list[Delivery]) -> None:
    for each in deliveries:
        usable = _usable(each)
        assert _spelt(each, usable) == {folded: name for folded, name in _spoken(each) if name in usable}


SPELLINGS = st.sampled_from(["duration", "Duration", "DURATION", "price", "queuename", "record", "var_a", "aiData"])
SAID = st.sampled_from(
    [None, "", 0, 1, 2, "x", "1,5", "https://records.invalid/1.mp3", "ftp://x.invalid", {"a": 1}, []]
)
NOTES = st.sampled_from(["duration: NUL removed", "price: NUL removed", "gone: NUL removed", "queuename: mended"])
SEQUENCES = st.lists(
    st.tuples(st.dictionaries(SPELLINGS, SAID, max_size=4), st.lists(NOTES, max_size=2)), min_size=1, max_size=12
)


def made(sequence: list[tuple[dict[str, Any], list[str]]]) -> list[Delivery]:
    return [delivery(place, fields, *notes) for place, (fields, notes) in enumerate(sequence)]


@settings(max_examples=400)
@given(sequence=SEQUENCES, order=st.randoms(use_true_random=False))
def test_what_is_left_out_makes_no_difference_in_whatever_order_the_rest_arrives(
    sequence: list[tuple[dict[str, Any], list[str]]], order: Any
) -> None:
    arriving = made(sequence)
    order.shuffle(arriving)
    kept: list[Delivery] = []
    for number, each in enumerate(arriving, start=1):
        kept = still_counting(in_order([*kept, each]))
        together = in_order(arriving[:number])
        assert merge(kept) == merge(together)
        assert list(merge(kept).fields) == list(merge(together).fields)
        assert (kept[0], kept[-1]) == (together[0], together[-1])


def test_of_any_number_of_equal_deliveries_the_first_and_the_last_are_enough() -> None:
    equal = made([({"duration": 1, "var_a": "x"}, ["gone: NUL removed"])] * 50)
    assert still_counting(equal) == [equal[0], equal[-1]]


def test_a_delivery_that_only_decided_on_the_spelling_is_not_left_out() -> None:
    spelt = made(
        [({"duration": 1}, []), ({"DURATION": 2}, []), ({"duration": 3}, []), ({"Duration": "x", "duration": 4}, [])]
    )
    assert merge(still_counting(spelt)) == merge(spelt)
