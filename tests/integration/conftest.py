"""Fixtures of the loading path's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from loading import Loader


@pytest.fixture
def loader(database_url: str) -> Iterator[Loader]:
    made = Loader(database_url)
    yield made
    made.database.close()
