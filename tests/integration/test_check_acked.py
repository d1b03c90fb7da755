"""The documentation's way to compare what a simulation had acknowledged with the rows, run as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Product, product

from cdr.simulate.run import SimulateOptions, posts_of
from common.delivery import Delivery
from common.wire import Fields, read_body

__all__ = ["product"]

GUIDE = Path(__file__).parents[2] / "docs" / "reliability.md"


@pytest.fixture
def acked(product: Product, tmp_path: Path) -> Path:
    """Load simulated CDRs, and give the file of those that were acknowledged."""
    posts = list(posts_of(SimulateOptions(count=300, seed=5)))
    elements = [each for post in posts for each in read_body(post.body, post.content_type).elements]
    product.enqueue(
        [
            Delivery(f"{number:032x}", 0, 1_792_900_000_000_000, "default", "json", each.fields)
            for number, each in enumerate(elements)
            if isinstance(each, Fields)
        ]
    )
    product.work()
    file = tmp_path / "acked.txt"
    file.write_text("".join("\t".join(map(str, cdr)) + "\n" for cdr in {cdr for post in posts for cdr in post.cdrs}))
    return file


def documented_check(product: Product, acked: Path) -> list[str]:
    [snippet] = re.findall(r"^python - var/acked.txt <<'END'\n(.*?)^END$", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-", str(acked)],
        input=snippet,
        env={**os.environ, "CDR_DATABASE_URL": product.database_url},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_every_acked_cdr_is_found(product: Product, acked: Path) -> None:
    assert documented_check(product, acked) == ["300 acked, 0 of them without a row, 0 rows too many", ""]


def test_a_row_that_is_missing_is_named(product: Product, acked: Path) -> None:
    lost = sorted(acked.read_text().splitlines())[7]
    call_id, call_type, time, *_ = lost.split("\t")
    product.run(
        "DELETE FROM cdr.cdrs WHERE (call_id, call_type, time_raw) = (%s, %s, %s)", call_id, call_type, int(time)
    )
    assert documented_check(product, acked) == ["300 acked, 1 of them without a row, 0 rows too many", lost]


def test_a_row_too_many_is_counted(product: Product, acked: Path) -> None:
    product.run(
        "CREATE TEMPORARY TABLE again AS SELECT * FROM cdr.cdrs LIMIT 1;"
        " UPDATE again SET identity = sha256('another');"
        " INSERT INTO cdr.cdrs SELECT * FROM again"
    )
    assert documented_check(product, acked)[0] == "300 acked, 0 of them without a row, 1 rows too many"
