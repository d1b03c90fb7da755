"""The reference tables that SQL users join hold exactly what the code works with."""

from __future__ import annotations

import csv
from pathlib import Path

import psycopg

from common.call_codes import CALL_TYPES, DISPOSITIONS

COUNTRIES = Path(__file__).parents[2] / "worker" / "countries.csv"


def test_every_call_type_of_the_code_is_in_its_table(database_url: str) -> None:
    columns = "call_type, numeric_ids, direction, leg, leg_family, description"
    expected = [
        (row.name, list(row.numeric_ids), row.direction, row.leg, row.leg_family, row.description) for row in CALL_TYPES
    ]
    assert sorted(rows(database_url, f"SELECT {columns} FROM cdr.call_types")) == sorted(expected)


def test_every_disposition_of_the_code_is_in_its_table(database_url: str) -> None:
    expected = [(row.name, row.outcome, row.description) for row in DISPOSITIONS]
    assert sorted(rows(database_url, "SELECT disposition, outcome, description FROM cdr.dispositions")) == sorted(
        expected
    )


def test_every_country_of_the_code_is_in_its_table(database_url: str) -> None:
    with COUNTRIES.open(encoding="utf-8", newline="") as file:
        expected = [tuple(row) for row in list(csv.reader(file))[1:]]
    assert sorted(rows(database_url, "SELECT code, name_en, name_he FROM cdr.countries")) == sorted(expected)


def rows(database_url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(query).fetchall()
