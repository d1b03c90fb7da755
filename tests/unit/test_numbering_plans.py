"""Digits are read as the library reads them, whose metadata is used without its parser."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numbers_by_library import Read, is_short_by_library, read_by_library
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from worker.numbering_plans import Number, is_short_code, read_international, read_national

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
CALLING_CODES = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
NO_REGIONS = sorted(phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS)
TYPES = sorted(PhoneNumberType.values())
# Around the lengths at which the library thinks otherwise of a number, and some more.
TAILS = st.text("0123456789", max_size=19)
# National and international prefixes of many countries; of carriers; and the beginnings of numbers that look like them.
PREFIXES = st.sampled_from(
    ["", "0", "00", "1", "8", "011", "012", "0015", "810", "90", "180020", "15", "9", "06", "10"]
)


def ours(number: Number | None) -> Read | None:
    if number is None:
        return None
    located, kind = number.locate()
    return Read(
        e164=f"+{number.calling_code}{number.national}",
        national=number.national,
        region=located,
        kind=kind,
        is_possible=number.is_possible,
        is_as_long_as_a_mobile=number.is_as_long_as_a_mobile,
    )


def assert_read_alike(digits: str, region: str) -> None:
    assert ours(read_national(digits, region)) == read_by_library(digits, region), (digits, region)
    assert ours(read_international(digits)) == read_by_library(f"+{digits}", None), digits
    assert is_short_code(digits, region) == is_short_by_library(digits, region), (digits, region)


def variants(number: phonenumbers.PhoneNumber) -> set[str]:
    """Write a number in the ways that people dial it, and with a digit too many, too few or changed."""
    national = phonenumbers.national_significant_number(number)
    dialed = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
    forms = {national, f"0{national}", f"{number.country_code}{national}", f"00{number.country_code}{national}"}
    forms |= {f"{number.country_code}0{national}", "".join(filter(str.isdigit, dialed))}
    near = {form + "1" for form in forms} | {form[:-1] for form in forms} | {form[:-4] + "0000" for form in forms}
    return {form for form in forms | near if form.isascii() and form.isdigit()}


@pytest.mark.parametrize("region", REGIONS)
def test_numbers_of_each_kind_are_read_alike_at_home_and_abroad(region: str) -> None:
    for number_type in TYPES:
        if number := phonenumbers.example_number_for_type(region, number_type):
            for dialed in variants(number):
                assert_read_alike(dialed, region)


@pytest.mark.parametrize("calling_code", NO_REGIONS)
def test_numbers_of_no_region_are_read_alike(calling_code: int) -> None:
    for dialed in variants(phonenumbers.example_number_for_non_geo_entity(calling_code)):
        assert_read_alike(dialed, "IL")


@pytest.mark.parametrize("region", REGIONS)
def test_short_codes_are_told_alike(region: str) -> None:
    for code in map(
        str, [*range(100, 1000, 9), 112, 911, *range(1000, 10_000, 311), *range(10_000, 1_000_000, 33_331)]
    ):
        assert is_short_code(code, region) == is_short_by_library(code, region), code


@given(st.sampled_from(REGIONS), PREFIXES, TAILS)
@settings(max_examples=500)
# Numbers with digits that are replaced, and not only dropped, when dialed at home.
@example("AR", "0", "111523456789")
@example("BR", "0", "151121961234")
@example("MX", "", "10445512345678")
@example("SM", "", "886377")
# The calling code is taken off a number that is valid only without it.
@example("IL", "", "972505551234")
@example("US", "", "12025550123")
@example("IM", "", "447624123456")
# Behind the calling code the plan of its main region holds, and that of Australia knows 1831.
@example("CC", "", "611831412345678")
def test_any_digits_are_read_alike(region: str, prefix: str, tail: str) -> None:
    assert_read_alike(prefix + tail, region)


@given(st.sampled_from(CALLING_CODES), st.sampled_from(REGIONS), PREFIXES, TAILS)
@settings(max_examples=500)
def test_any_digits_behind_a_calling_code_are_read_alike(code: int, region: str, prefix: str, tail: str) -> None:
    assert_read_alike(f"{code}{prefix}{tail}", region)
    assert_read_alike(f"{prefix}{code}{tail}", region)


@pytest.mark.parametrize("region", ["XX", "il", "001", ""])
def test_no_number_is_at_home_in_a_region_that_is_not_known(region: str) -> None:
    assert read_national("0201234567", region) is None
    assert not is_short_code("100", region)
