"""Countries have one name of ours, and a provider's spelling of the same country is no difference."""

from __future__ import annotations

import csv
from pathlib import Path

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.countries import country_code_of, country_name, differs

WORKER = Path(__file__).parents[2] / "worker"


def rows(file_name: str) -> list[dict[str, str]]:
    with (WORKER / file_name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


COUNTRIES = rows("countries.csv")
SPELLINGS = rows("country_spellings.csv")


def test_both_tables_list_the_same_countries_in_order() -> None:
    codes = [row["code"] for row in COUNTRIES]
    assert codes == sorted(set(codes))
    assert [row["code"] for row in SPELLINGS] == codes


def test_every_region_with_telephone_numbers_has_a_name() -> None:
    assert {region for region in phonenumbers.SUPPORTED_REGIONS if not country_name(region)} == set()


@pytest.mark.parametrize(
    ("code", "name"), [("IL", "Israel"), ("US", "United States"), ("TR", "Türkiye"), ("CI", "Côte d’Ivoire")]
)
def test_a_country_is_named_as_cldr_names_it(code: str, name: str) -> None:
    assert country_name(code) == name


@pytest.mark.parametrize("code", [None, "", "il", "XX", "001"])
def test_what_is_no_code_has_no_name(code: str | None) -> None:
    assert country_name(code) is None


@pytest.mark.parametrize("row", COUNTRIES, ids=lambda row: row["code"])
def test_a_country_is_known_by_code_and_by_both_names_in_any_case(row: dict[str, str]) -> None:
    sent = [*row.values(), *(text.upper() for text in row.values()), *(f" {text.lower()}. " for text in row.values())]
    assert {country_code_of(text) for text in sent} == {row["code"]}


@pytest.mark.parametrize("row", SPELLINGS, ids=lambda row: row["code"])
def test_a_country_is_known_by_every_other_spelling(row: dict[str, str]) -> None:
    # A spelling that stood for two countries would be found under the later one only.
    spellings = [row["alpha_3"], *filter(None, row["spellings"].split("|"))]
    assert {country_code_of(text) for text in spellings} == {row["code"]}


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("USA", "US"),
        ("U.S.A.", "US"),
        ("the united states of america", "US"),
        ('ארה"ב', "US"),
        ("ארה״ב", "US"),
        ("UK", "GB"),
        ("England", "GB"),
        ("Great Britain", "GB"),
        ("Russia", "RU"),
        ("Russian Federation", "RU"),
        ("South Korea", "KR"),
        ("Korea, Republic of", "KR"),
        ("North Korea", "KP"),
        ("Czech Republic", "CZ"),
        ("Czechia", "CZ"),
        ("Ivory Coast", "CI"),
        ("Cote D'Ivoire", "CI"),
        ("COTE DIVOIRE", "CI"),
        ("Palestine", "PS"),
        ("Palestinian Authority", "PS"),
        ("הרשות הפלסטינית", "PS"),
        ("Turkey", "TR"),
        ("TURKIYE", "TR"),
        ("Holland", "NL"),
        ("Bosnia and Herzegovina", "BA"),
        ("Saint Kitts & Nevis", "KN"),
        ("St Kitts and Nevis", "KN"),
        ("Hong-Kong", "HK"),
        ("Macau", "MO"),
        ("Macedonia", "MK"),
        ("Swaziland", "SZ"),
        ("Viet Nam", "VN"),
        ("Isle Of Man", "IM"),
        ("Gambia, The", "GM"),
        ("Curacao", "CW"),
        ("Reunion", "RE"),
        ("ISR", "IL"),
        ("XKX", "XK"),
        ("il", "IL"),
        ("יִשְׂרָאֵל", "IL"),
        ("צרפת", "FR"),
        ("Democratic Republic of the Congo", "CD"),
        ("Republic of the Congo", "CG"),
        ("Dominica", "DM"),
        ("Dominican Republic", "DO"),
        ("Niger", "NE"),
        ("Nigeria", "NG"),
    ],
)
def test_a_providers_spelling_is_understood(sent: str, code: str) -> None:
    assert country_code_of(sent) == code


@pytest.mark.parametrize(
    "sent", ["", " ", "Atlantis", "Congo", "Virgin Islands", "Korea", "EU", "the", "Israel Mobile"]
)
def test_what_names_no_country_or_several_is_not_guessed(sent: str) -> None:
    assert country_code_of(sent) is None


def test_a_text_of_any_length_is_taken() -> None:
    assert country_code_of("Israel" * 1_000_000) is None


@pytest.mark.parametrize(("text", "code"), [("Turkey", "TR"), ("ישראל", "IL"), ("USA", "US"), ("israel", "IL")])
def test_another_spelling_is_no_difference(text: str, code: str) -> None:
    assert not differs(text, code)


@pytest.mark.parametrize(
    ("row", "others"), list(zip(COUNTRIES, SPELLINGS, strict=True)), ids=[row["code"] for row in COUNTRIES]
)
def test_no_spelling_of_a_country_differs_from_it_and_each_differs_from_any_other(
    row: dict[str, str], others: dict[str, str]
) -> None:
    spellings = [row["name_en"], row["name_he"], others["alpha_3"], *filter(None, others["spellings"].split("|"))]
    another = "IL" if row["code"] != "IL" else "US"
    assert not [text for text in spellings if differs(text, row["code"]) or differs(text.upper(), row["code"])]
    assert not [text for text in spellings if not differs(text, another)]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("ישראל", "US"),
        ("צרפת", "IL"),
        ("ארה״ב", "CA"),
        ("אנגליה", "IE"),
        ("הרשות הפלסטינית", "IL"),
        ("דרום קוריאה", "KP"),
    ],
)
def test_another_country_in_hebrew_is_a_difference(text: str, code: str) -> None:
    assert differs(text, code)


@pytest.mark.parametrize(("text", "code"), [("Israel", "PS"), ("United States", "CA"), ("Niger", "NG")])
def test_another_country_is_a_difference(text: str, code: str) -> None:
    assert differs(text, code)


@pytest.mark.parametrize(
    ("text", "code"), [(None, "IL"), ("", "IL"), ("Atlantis", "IL"), ("Israel", None), (None, None)]
)
def test_what_is_missing_or_unknown_is_no_difference(text: str | None, code: str | None) -> None:
    assert not differs(text, code)


@given(st.text())
def test_any_text_is_a_known_country_or_none(text: str) -> None:
    code = country_code_of(text)
    assert code is None or country_name(code)
