"""A CDR that is received again and again: each delivery counts once, and costs the same however many came before."""

from __future__ import annotations

import random
from typing import Any

import pytest
from loading import Loader, delivery, execute, leg, select

from common.delivery import Delivery
from worker import known_cdrs

RECORD = "https://records.invalid/1.mp3"


def some_deliveries(count: int, seed: int = 1) -> list[Delivery]:
    """Make deliveries of one CDR that differ in what they say and in how they spell it."""
    chance = random.Random(seed)
    values: dict[str, list[Any]] = {
        "duration": ["", 7, "x", 9, None], "Duration": [8, "", None], "queuename": ["Sales", "", "Support"],
        "record": [RECORD, "ftp://x.invalid", ""], "price": ["1,5", 1, ""], "var_a": ["1", "2", ""], "did": ["072", ""],
    }  # fmt: skip
    made = []
    for number in range(count):
        fields = {name: chance.choice(choices) for name, choices in values.items() if chance.random() < 0.6}
        notes = ("gone: NUL removed", "queuename: NUL removed") if chance.random() < 0.3 else ()
        made.append(delivery(leg("c", **{"duration": None, **fields}), received=chance.randrange(count), notes=notes,
                             delivery_id=f"{number:032x}"))  # fmt: skip
    return made


def row_of(url: str) -> dict[str, Any]:
    [row] = select(url, "SELECT * FROM cdr.cdrs")
    return {**row, "loaded_at": None}


def test_hundreds_of_deliveries_one_by_one_make_the_row_that_they_make_together(
    loader: Loader, database_url: str
) -> None:
    deliveries = some_deliveries(300)
    loader.load(deliveries)
    together = row_of(database_url)
    for table in ("cdrs", "deliveries", "recordings", "outbox"):
        execute(database_url, f"DELETE FROM cdr.{table}")
    random.Random(2).shuffle(deliveries)
    for each in deliveries:
        loader.load([each])
    assert row_of(database_url) == together
    assert together["delivery_count"] == 300


def test_only_deliveries_that_still_make_a_difference_are_read(
    loader: Loader, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    read_deliveries = known_cdrs._read_deliveries

    def counted(*arguments: Any) -> dict[bytes, list[Delivery]]:
        kept = read_deliveries(*arguments)
        read.append(sum(len(deliveries) for deliveries in kept.values()))
        return kept

    monkeypatch.setattr(known_cdrs, "_read_deliveries", counted)
    for number in range(200):
        loader.load([delivery(leg("c", duration=number), received=number)])
    assert max(read) <= 2
    assert len(select(database_url, "SELECT FROM cdr.deliveries")) == 200


def test_a_delivery_that_makes_no_difference_any_more_counts_once_all_the_same(
    loader: Loader, database_url: str
) -> None:
    deliveries = [delivery(leg("c", duration=number), received=number) for number in range(20)]
    for each in deliveries:
        loader.load([each])
    before = row_of(database_url)
    loader.load([*deliveries[5:9], deliveries[7]])
    loader.load(deliveries)
    assert row_of(database_url) == before
    assert before["delivery_count"] == 20


def test_a_delivery_twice_in_one_batch_counts_once(loader: Loader, database_url: str) -> None:
    first, second = delivery(leg("c")), delivery(leg("c", did="1"), received=1)
    loader.load([first])
    loader.load([second, second])
    assert row_of(database_url)["delivery_count"] == 2


def test_deliveries_that_an_earlier_release_kept_are_all_read_once_more(loader: Loader, database_url: str) -> None:
    deliveries = some_deliveries(40)
    loader.load(deliveries[:39])
    execute(database_url, "UPDATE cdr.deliveries SET superseded = DEFAULT")
    loader.load(deliveries[39:])
    after = row_of(database_url)
    for table in ("cdrs", "deliveries"):
        execute(database_url, f"DELETE FROM cdr.{table}")
    loader.load(deliveries)
    assert row_of(database_url) == after
