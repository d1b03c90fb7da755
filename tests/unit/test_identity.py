"""Two deliveries of one CDR share an identity, two CDRs never do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.identity import MAX_TIME_RAW, call_key, cdr_identity, provider_time

CDR = ("default", "201809131615530APIAPI-APIAac40c3d53", "Queue", 1536855354, "AAPINFzL", "BBPINFzL")


def test_an_identity_is_the_32_bytes_of_a_sha256() -> None:
    assert len(cdr_identity(*CDR)) == 32


def test_the_stored_encoding_does_not_change() -> None:
    # These are in databases: a difference here would load every CDR a second time, or part the legs of a call.
    assert cdr_identity(*CDR).hex() == "a0418d9ba15fd710d6df25fb3c004fb3aa75f4fd4142b13840e943e97e522943"
    assert call_key(CDR[0], CDR[1]).hex() == "125abc290551bb3dedb243f42a7a47bd"
    assert call_key(CDR[0], "a-call").hex() == "c74cc398d9eb25f4e0269390f3ad5776"


@given(st.text(), st.text(), st.text(), st.text())
def test_an_identity_is_made_of_each_part_behind_its_length(
    account: str, call_id: str, caller: str, target: str
) -> None:
    parts = [account, call_id.strip(), "queue", "7", caller.strip(), target.strip()]
    text = "".join(f"{len(part)}:{part}" for part in parts)
    assert cdr_identity(account, call_id, "8", 7, caller, target) == sha256(text.encode()).digest()


@pytest.mark.parametrize("sent", ["Queue", "queue", " QUEUE ", "8"])
def test_the_spelling_of_the_type_does_not_matter(sent: str) -> None:
    assert cdr_identity(CDR[0], CDR[1], sent, *CDR[3:]) == cdr_identity(*CDR)


def test_the_spelling_of_an_unknown_type_does_not_matter() -> None:
    first = cdr_identity(CDR[0], CDR[1], "Video Call", *CDR[3:])
    assert cdr_identity(CDR[0], CDR[1], " VIDEOCALL", *CDR[3:]) == first


def test_blanks_around_ids_and_extensions_do_not_matter() -> None:
    account, call_id, call_type, time_raw, caller, target = CDR
    padded = cdr_identity(account, f" {call_id} ", call_type, time_raw, f"{caller} ", f"\t{target}")
    assert padded == cdr_identity(*CDR)


def test_a_missing_value_is_an_empty_one() -> None:
    missing = cdr_identity("default", "a-call", None, 1536855354, None, None)
    assert cdr_identity("default", "a-call", "", 1536855354, "", " ") == missing


@pytest.mark.parametrize(
    ("position", "other"),
    [
        (0, "another"),
        (1, "201809131615530apiapi-apiaac40c3d53"),
        (2, "Incoming Call"),
        (2, None),
        (3, 1536855355),
        (3, None),
        (4, ""),
        (4, "aapinfzl"),
        (5, ""),
    ],
)
def test_a_difference_in_any_part_is_another_cdr(position: int, other: str | int | None) -> None:
    changed = (*CDR[:position], other, *CDR[position + 1 :])
    assert cdr_identity(*changed) != cdr_identity(*CDR)


def test_what_stands_in_the_caller_is_not_what_stands_in_the_target() -> None:
    as_caller = cdr_identity("default", "a-call", "Queue", 1, "AAPINFzL", None)
    as_target = cdr_identity("default", "a-call", "Queue", 1, None, "AAPINFzL")
    assert as_caller != as_target


@given(st.lists(st.text("12:;a"), min_size=4, max_size=4), st.lists(st.text("12:;a"), min_size=4, max_size=4))
def test_shifted_borders_between_parts_are_told_apart(one: list[str], other: list[str]) -> None:
    identities = [cdr_identity(parts[0], parts[1], None, 1, parts[2], parts[3]) for parts in (one, other)]
    assert (identities[0] == identities[1]) == (one == other)


@given(st.text(), st.text())
def test_any_text_has_a_key_of_16_bytes(account: str, call_id: str) -> None:
    assert len(call_key(account, call_id)) == 16


def test_a_lone_surrogate_does_not_stop_a_cdr() -> None:
    assert call_key("default", "\ud800") != call_key("default", "\ud801")


def test_a_call_key_belongs_to_its_account() -> None:
    assert call_key("default", "a-call") != call_key("another", "a-call")


def test_call_keys_are_in_the_order_of_the_dates_that_ids_begin_with() -> None:
    ids = ["20180913161553zz", "20180913161554aa", "20200101000000", "99991231235959-"]
    keys = [call_key("default", each) for each in ids]
    assert keys == sorted(keys)
    assert [int.from_bytes(key[:6]) for key in keys] == [int(each[:14]) for each in ids]


def test_calls_of_one_second_have_keys_of_their_own() -> None:
    ids = [f"20180913161553{number}" for number in range(1000)]
    keys = {call_key(account, each) for account in ("default", "another") for each in ids}
    assert len({key[6:] for key in keys}) == 2000


@pytest.mark.parametrize("call_id", ["2018091316155", "2018-09-13 16:15:53", "٢٠١٨" * 4, "x20180913161553"])
def test_the_key_of_an_id_without_a_date_is_a_hash_alone(call_id: str) -> None:
    text = f"7:default{len(call_id)}:{call_id}"
    assert call_key("default", call_id) == sha256(text.encode()).digest()[:16]


def test_blanks_around_a_call_id_do_not_change_its_key() -> None:
    assert call_key("default", " a-call\n") == call_key("default", "a-call")


def test_provider_time_is_the_wall_clock_that_was_sent() -> None:
    assert provider_time(1536855354).isoformat() == "2018-09-13T16:15:54"


@pytest.mark.parametrize("time_raw", [None, 0, -1, MAX_TIME_RAW + 1, 2**63, -(2**63)])
def test_without_a_usable_time_provider_time_is_1970(time_raw: int | None) -> None:
    assert provider_time(time_raw).isoformat() == "1970-01-01T00:00:00"


@given(st.integers(1, MAX_TIME_RAW))
def test_provider_time_has_no_zone_and_loses_nothing(time_raw: int) -> None:
    decoded = provider_time(time_raw)
    assert decoded.tzinfo is None
    assert (decoded.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) == timedelta(seconds=time_raw)
