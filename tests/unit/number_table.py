"""The table of numbers and what each is, whose expectations come from numbering plans and not from the code's library."""

from __future__ import annotations

import csv
from pathlib import Path

TABLE = Path(__file__).parent / "numbers.csv"
# Rows whose expectation is a decision of this product's, or the provider's own example, and not a numbering plan's.
OUR_RULE = "this product's rule: docs/enrichment.md"
PROVIDER = "the provider's specification and sample"


def rows() -> list[dict[str, str]]:
    """Return the rows, each with the columns sent, region, e164, country_code, kind, source and why."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
