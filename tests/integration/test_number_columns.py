"""What the table of numbers says of a number is what its CDR's row says, with the country's name in both languages."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import phonenumbers
import pytest
from loading import Loader, leg, select

from common.cdr import Cdr
from common.delivery import Delivery
from common.settings import AccountDefaults
from worker.accounts import Accounts
from worker.countries import country_name
from worker.extension_directory import ExtensionDirectory
from worker.pipeline import Knowledge, enrich

TABLE = Path(__file__).parents[1] / "unit" / "numbers.csv"
CALLER = ("caller_e164", "caller_country_code", "caller_country", "caller_kind")
CALLED = ("called_e164", "called_country_code", "called_country", "called_kind")


def table() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def enriched(region: str, **fields: Any) -> Cdr:
    knowledge = Knowledge(Accounts(AccountDefaults(default_region=region)), ExtensionDirectory())
    return enrich([Delivery("0" * 32, 0, 0, "acme", "json", leg("c", **fields), ())], knowledge)


def expected(row: dict[str, str]) -> tuple[str | None, ...]:
    code = row["country_code"] or None
    return row["e164"] or None, code, country_name(code), row["kind"] or None


@pytest.mark.parametrize("region", sorted({row["region"] for row in table()}))
def test_the_columns_of_caller_target_and_did_are_as_in_the_table(region: str) -> None:
    for row in table():
        if row["region"] == region:
            cdr = enriched(region, caller=row["sent"], target=row["sent"], did=row["sent"])
            assert tuple(getattr(cdr, name) for name in CALLER) == expected(row), row
            assert tuple(getattr(cdr, name) for name in CALLED) == expected(row), row
            assert cdr.did_e164 == (row["e164"] or None), row
            assert cdr.problems == {}, row


def test_a_row_has_the_countrys_english_name_and_its_hebrew_one_by_a_join(loader: Loader, database_url: str) -> None:
    loader.load_fields(leg("uk", caller="+442079460018", target="0722776772", caller_country="בריטניה"))
    [row] = select(
        database_url,
        "SELECT caller_country, caller.name_he AS caller_he, called_country, called.name_he AS called_he, problems"
        " FROM cdr.cdrs JOIN cdr.countries caller ON caller.code = caller_country_code"
        " JOIN cdr.countries called ON called.code = called_country_code",
    )
    assert row == {
        "caller_country": "United Kingdom",
        "caller_he": "בריטניה",
        "called_country": "Israel",
        "called_he": "ישראל",
        "problems": [],
    }


def test_every_country_that_a_number_can_have_is_named_in_both_languages(database_url: str) -> None:
    named = select(
        database_url, "SELECT code, name_en, name_he FROM cdr.countries WHERE name_en <> '' AND name_he <> ''"
    )
    codes = {row["code"] for row in named}
    assert phonenumbers.SUPPORTED_REGIONS - codes == set()
    assert {row["country_code"] for row in table()} - {""} - codes == set()
    assert all(any("\u0590" <= char <= "\u05ff" for char in row["name_he"]) for row in named)


def test_what_the_provider_calls_the_countries_stays_in_the_payload(loader: Loader, database_url: str) -> None:
    loader.load_fields(leg("c", caller="+12125550123", caller_country="צרפת", target="1001a", target_country="Narnia"))
    [row] = select(
        database_url, "SELECT payload, caller_country, called_country, called_country_code, problems FROM cdr.cdrs"
    )
    assert (row["payload"]["caller_country"], row["payload"]["target_country"]) == ("צרפת", "Narnia")
    assert (row["caller_country"], row["called_country"], row["called_country_code"]) == (
        "United States",
        "Narnia",
        None,
    )
    assert row["problems"] == ["caller_country: the provider says 'צרפת', the number is of US"]
