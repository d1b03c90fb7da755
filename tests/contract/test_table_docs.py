"""The docs name every column of the tables that users query, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from common.postgres import connect

DOCS = Path(__file__).parents[2] / "docs"


def documented(file: str, table: str) -> set[str]:
    """Return the names in code in the first column of the table under a heading."""
    section = (DOCS / file).read_text(encoding="utf-8").split(f"\n## {table}\n")[1].split("\n## ")[0]
    first_cells = re.findall(r"^\| (`.*?) \|", section, flags=re.MULTILINE)
    return {name for cell in first_cells for name in re.findall(r"`([a-z0-9_]+)`", cell)}


@pytest.mark.parametrize(
    ("file", "table"),
    [("enrichment.md", "cdr.cdrs"), ("tables.md", "cdr.calls"), ("tables.md", "cdr.recordings")],
)
def test_each_column_is_documented_and_nothing_else(database_url: str, file: str, table: str) -> None:
    query = "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
    with connect(database_url, "test") as connection:
        columns = {name for (name,) in connection.execute(query.encode(), (table,))}

    assert documented(file, table) == columns


def test_each_place_in_the_code_that_makes_a_column_is_there() -> None:
    text = (DOCS / "enrichment.md").read_text(encoding="utf-8")
    places = re.findall(r"\| `((?:api|common|worker)/[a-z_/]*(?:\.py)?)` \|$", text, flags=re.MULTILINE)

    assert len(places) > 30
    assert [place for place in places if not (DOCS.parent / place).exists()] == []
