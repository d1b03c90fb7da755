"""Fixtures of the acceptance tests: the whole product, running on servers that a test may kill."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from oracle.product import fresh_product
from oracle.report import totals
from oracle.rounds import Oracle


class Running:
    """One product for all tests of a file, and a fresh one after a round that failed."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._oracle: Oracle | None = None

    def oracle(self) -> Oracle:
        if self._oracle is None or self._oracle.has_failed:
            self._stack.close()
            self._oracle = Oracle(self._stack.enter_context(fresh_product()))
        return self._oracle


# Not for the whole session: its dozen processes keep a sixth of a core busy while nothing is asked of them.
@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    if sys.platform != "linux":
        pytest.skip("no Linux here: what the product does while its processes are killed is left untested")
    with ExitStack() as stack:
        yield Running(stack)


@pytest.fixture
def oracle(running: Running, record_property: Callable[[str, object], None]) -> Iterator[Oracle]:
    """Give the oracle to a test, and have what it played counted in the summary of the run (tests/conftest.py)."""
    oracle = running.oracle()
    before = len(oracle.rounds)
    yield oracle
    record_property("oracle", totals(oracle.rounds[before:]))
