"""Fixtures of the acceptance tests: the whole product, running on servers that a test may kill."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from oracle.product import fresh_product
from oracle.rounds import Oracle


@pytest.fixture
def oracle() -> Iterator[Oracle]:
    with fresh_product() as product:
        yield Oracle(product)
