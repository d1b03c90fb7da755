"""A field that may hold a number is described: E.164, country and kind, or why it is no number.

The expectations in numbers.csv come from what regulators publish, above all the numbers that they keep for fiction, and
from collections of numbering plans that owe nothing to the library under test. `source` names which; where it says
otherwise than the library, `why` says what is decided.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import number_table
import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.phone_numbers import PhoneNumber, describe_number

REPOSITORY = Path(__file__).parents[2]
KINDS = {"mobile", "fixed", "voip", "toll_free", "shared_cost", "premium", "short_code", "extension", "hidden"}
REGIONS = st.sampled_from(["IL", "US", "GB", "DE", "IT", "AR", "MX", "BR", "RU", "AU"])
DIALED = st.from_regex(r"(\+|00|0|972|1|44|39|)[0-9]{1,16}", fullmatch=True)


# What a person, a phone or a right-to-left text puts between the digits.
SEPARATORS = st.sampled_from(
    [" ", "-", ".", "(", ")", "\u00a0", "\u2011", "\u2013", "\u200e", "\u200f", "\u202a", "\u202c", "\t"]
)
ROWS = number_table.rows()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['sent']}-{row['region']}")
def test_a_number_is_described_as_its_numbering_plan_has_it(row: dict[str, str]) -> None:
    expected = PhoneNumber(row["e164"] or None, row["country_code"] or None, row["kind"] or None)
    assert describe_number(row["sent"], row["region"]) == expected, row["why"]


def test_the_table_has_hundreds_of_numbers_of_many_countries_from_numbering_plans() -> None:
    planned = [row for row in ROWS if row["source"] not in {number_table.OUR_RULE, number_table.PROVIDER}]
    assert len(planned) >= 300
    assert len({row["country_code"] for row in planned} - {""}) >= 40
    assert len({(row["sent"], row["region"]) for row in ROWS}) == len(ROWS)


def test_an_expectation_tells_where_it_comes_from_and_why() -> None:
    assert not [row for row in ROWS if not row["source"].strip() or not row["why"].strip()]
    assert not [row for row in ROWS if "libphonenumber" in row["source"].casefold()]


def test_the_table_is_sorted_by_country() -> None:
    # What has no country comes last.
    countries = [row["country_code"] or "~" for row in ROWS]
    assert countries == sorted(countries)


@pytest.mark.parametrize("sent", [None, "", " ", "\t\n", "\u200e", " \u202a\u202c ", ",", "; "])
def test_nothing_is_described_as_nothing(sent: str | None) -> None:
    assert describe_number(sent, "IL") == PhoneNumber(None, None, None)


@pytest.mark.parametrize(
    "sent",
    [
        "\u200e0722776772\u200f",
        "\u202a+972722776772\u202c",
        "\u2066+972 72 277 6772\u2069",
        "\ufeff0722776772",
        "٠٧٢٢٧٧٦٧٧٢",
        "۰۷۲۲۷۷۶۷۷۲",
        "０７２２７７６７７２",
        "＋９７２７２２７７６７７２",
        "０７２２７７６７７２；５",
        "072\u00a0277\u20116772",
        "०७२२७७६७७२",
    ],
)
def test_direction_marks_and_digits_of_any_alphabet_do_not_matter(sent: str) -> None:
    assert describe_number(sent, "IL").e164 == "+972722776772"


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        ("*\u200e1234", "short_code"),
        ("\u200f1234*\u200e", "short_code"),
        ("١٠٠", "short_code"),
        ("＊１２３４", "short_code"),
        ("\u200fחסוי\u200f", "hidden"),
        ("מספר\u00a0חסוי", "hidden"),
        ("חָסוּי", "hidden"),
        ("\u2067לא מזוהה\u2069", "hidden"),
    ],
)
def test_they_do_not_matter_in_what_is_no_number_either(sent: str, kind: str) -> None:
    assert describe_number(sent, "IL") == PhoneNumber(None, None, kind)


def test_a_text_of_any_length_is_taken() -> None:
    assert describe_number("0" * 10_000_000, "IL") == PhoneNumber(None, None, "unknown")


def test_a_text_is_remembered_by_its_first_characters_only() -> None:
    assert describe_number("a" * 1000, "IL") is describe_number("a" * 2000, "IL")


def test_a_number_without_a_country_belongs_to_the_region_given() -> None:
    assert describe_number("0201234567", "NL").e164 == "+31201234567"
    assert describe_number("0201234567", "XX") == PhoneNumber(None, None, "unknown")


def test_a_carrier_prefix_before_a_foreign_number_does_not_make_it_one_of_the_region() -> None:
    # 013 is an Israeli international prefix; 555 is no area code, so the number is not valid abroad either.
    assert describe_number("01315550001234", "IL").e164 is None


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_every_regions_example_number_is_recognised_in_its_national_form(region: str) -> None:
    example = phonenumbers.example_number(region)
    national = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.NATIONAL)
    e164 = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
    assert describe_number(national, region).e164 == e164


@given(st.text() | DIALED, REGIONS)
def test_any_text_is_described_within_the_promised_values(sent: str, region: str) -> None:
    number = describe_number(sent, region)
    assert number.kind in {None, "unknown", *KINDS}
    assert number.e164 is None or re.fullmatch(r"\+[1-9][0-9]{4,14}", number.e164)
    assert number.country_code is None or re.fullmatch("[A-Z]{2}", number.country_code)
    assert number.e164 is not None or number.country_code is None


@given(DIALED, REGIONS, REGIONS)
def test_an_e164_describes_itself_in_every_region(sent: str, region: str, other: str) -> None:
    e164 = describe_number(sent, region).e164
    assert e164 is None or describe_number(e164, other).e164 == e164


@given(DIALED, REGIONS, st.lists(st.tuples(st.integers(0, 18), SEPARATORS), max_size=5))
def test_what_stands_between_the_digits_does_not_matter(dialed: str, region: str, marks: list[tuple[int, str]]) -> None:
    sent = dialed
    for place, mark in marks:
        sent = sent[:place] + mark + sent[place:]
    assert describe_number(sent, region) == describe_number(dialed, region)


@given(st.from_regex("[1-9][0-9]{0,14}", fullmatch=True), REGIONS)
def test_a_plus_and_two_zeros_say_the_same(digits: str, region: str) -> None:
    assert describe_number(f"+{digits}", region) == describe_number(f"00{digits}", region)


@given(DIALED, REGIONS, st.sampled_from([0x0660, 0x06F0, 0x0966, 0xFF10]))
def test_digits_are_the_same_in_every_alphabet(dialed: str, region: str, zero: int) -> None:
    written = "".join(chr(zero + int(char)) if char.isdigit() else char for char in dialed)
    assert describe_number(written, region) == describe_number(dialed, region)


@given(DIALED, REGIONS, st.from_regex("[,;/][0-9,;/]{0,6}", fullmatch=True))
def test_an_extension_behind_a_number_does_not_matter(dialed: str, region: str, extension: str) -> None:
    assert describe_number(dialed + extension, region) == describe_number(dialed, region)


@given(st.from_regex("(5[0-9]|7[0-9]|[23489])[0-9]{7}", fullmatch=True))
def test_an_israeli_number_is_the_same_in_each_way_of_dialing_it(national: str) -> None:
    usual = describe_number(f"+972{national}", "IL")
    assert usual.e164 == f"+972{national}"
    others = ("0", "972", "9720", "00972", "009720", "+9720", "+972 (0)", "012972", "")
    assert {describe_number(prefix + national, "IL") for prefix in others if len(prefix + national) > 8} == {usual}


@given(DIALED, st.sampled_from("aZאçя"), st.integers(0, 17))
def test_a_letter_anywhere_makes_an_extension(dialed: str, letter: str, place: int) -> None:
    assert describe_number(dialed[:place] + letter + dialed[place:], "IL") == PhoneNumber(None, None, "extension")


def test_the_heavy_parts_of_the_library_are_not_imported() -> None:
    question = (
        "import sys, worker.phone_numbers;"
        "print([name for name in sys.modules if name.startswith('phonenumbers.')"
        " and name.split('.')[1] in {'geocoder', 'carrier', 'timezone', 'geodata', 'carrierdata', 'tzdata'}])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", question], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
