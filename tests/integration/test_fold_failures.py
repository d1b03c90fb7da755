"""`cdr.calls` slow, locked or refusing: loading goes on, the other calls are folded, and nothing is folded wrong in the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest
import redis
from command_line import Product, product
from command_line import delivery as old_delivery
from free_ports import free_port
from loading import Loader, delivery, execute, leg, select

from common.errors import DatabaseUnavailable, QueueUnavailable
from common.job_queue import RECORDINGS, queue_key
from common.postgres import Cursor, Database, Limits
from worker import context, fold_calls, outbox
from worker.fold_calls import fold_held_calls, fold_waiting_calls
from worker.outbox import work_off

__all__ = ["product"]

HANG = (
    "CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " IF {condition} THEN PERFORM pg_sleep(60); END IF; RETURN new; END $$;"
    " CREATE TRIGGER hang BEFORE INSERT ON cdr.calls FOR EACH ROW EXECUTE FUNCTION hang()"
)


class Counted(Database):
    """Counts the transactions that it is asked for."""

    transactions = 0

    @contextmanager
    def transaction(self, limits: Limits | None = None, *, keep: bool = True) -> Iterator[Cursor]:
        self.transactions += 1
        with super().transaction(limits, keep=keep) as cursor:
            yield cursor


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (fold_calls, outbox):
        monkeypatch.setattr(module, "FOLDING", Limits(statement_seconds=1, lock_seconds=0.2))


def calls(url: str) -> set[str]:
    return {row["call_id"] for row in select(url, "SELECT call_id FROM cdr.calls")}


def ids(*numbers: int) -> set[str]:
    return {f"c{number}" for number in numbers}


def load(loader: Loader, *numbers: int, **fields: Any) -> None:
    for number in numbers:
        loader.load_fields(leg(f"c{number}", **fields))


def waiting(url: str) -> list[dict[str, Any]]:
    return select(url, "SELECT * FROM cdr.outbox WHERE kind = 'calls' ORDER BY outbox_id")


def due(url: str) -> None:
    execute(url, "UPDATE cdr.outbox SET retry_at = now() WHERE retry_at IS NOT NULL")


def fold_until_one_is_alone(loader: Loader, url: str) -> int:
    """Fold as the scheduler does until nothing is due, and return how many passes it took."""
    passes = 0
    while select(url, "SELECT FROM cdr.outbox WHERE error IS NULL AND (retry_at IS NULL OR retry_at <= now())"):
        passes += 1
        fold_waiting_calls(loader.database)
        fold_held_calls(loader.database)
        assert passes < 40
    return passes


@contextmanager
def locked(url: str, statement: str) -> Iterator[None]:
    with psycopg.connect(url) as somebody:
        somebody.execute(statement.encode())
        yield


def test_a_locked_table_leaves_everything_waiting(loader: Loader, database_url: str) -> None:
    load(loader, 1, 2)
    before = waiting(database_url)
    with locked(database_url, "LOCK TABLE cdr.calls IN SHARE MODE"), pytest.raises(DatabaseUnavailable):
        fold_waiting_calls(loader.database)
    assert waiting(database_url) == before
    assert loader.fold() == 2


def test_a_locked_table_holds_up_no_load(product: Product) -> None:
    with locked(product.database_url, "LOCK TABLE cdr.calls IN SHARE MODE"):
        for number in range(5):
            product.enqueue([old_delivery(number)])
            product.work()
        assert product.count("cdr.cdrs") == 5
        # After the first failure folding was left to the scheduler.
        assert context.current().follow_up.is_left_to_scheduler
    work_off(context.current().database, product.redis)
    assert product.count("cdr.calls") == 5


def test_a_pass_of_the_scheduler_with_nothing_to_do_is_one_transaction(
    loader: Loader, database_url: str, redis_url: str
) -> None:
    load(loader, 1)
    with closing(Counted(database_url, "test")) as database, redis.Redis.from_url(redis_url) as connection:
        assert work_off(database, connection) == 1
        # A call that cannot be folded waits for a person.
        execute(database_url, "INSERT INTO cdr.outbox (kind, call_keys, error) VALUES ('calls', '{}', 'refused')")
        database.transactions = 0
        assert work_off(database, connection) == 0
        assert database.transactions == 1


def test_a_row_that_somebody_has_locked_holds_up_its_call_only(loader: Loader, database_url: str) -> None:
    load(loader, *range(20))
    loader.fold()
    load(loader, *range(20), type="Queue")
    with locked(database_url, "SELECT FROM cdr.calls WHERE call_id = 'c7' FOR UPDATE"):
        fold_until_one_is_alone(loader, database_url)
        legs = {
            row["call_id"]: row["leg_count"] for row in select(database_url, "SELECT call_id, leg_count FROM cdr.calls")
        }
        assert legs == {**dict.fromkeys(ids(*range(20)), 2), "c7": 1}
        [entry] = waiting(database_url)
        assert (entry["tries"], entry["error"]) == (1, None)

    due(database_url)
    fold_held_calls(loader.database)
    assert {row["leg_count"] for row in select(database_url, "SELECT leg_count FROM cdr.calls")} == {2}
    assert waiting(database_url) == []


def test_a_call_that_hangs_is_found_one_wait_a_pass(loader: Loader, database_url: str) -> None:
    execute(database_url, HANG.format(condition="new.call_id = 'c5'"))
    load(loader, *range(16))
    passes = fold_until_one_is_alone(loader, database_url)
    assert calls(database_url) == ids(*range(16)) - {"c5"}
    assert 4 <= passes <= 1 + 4


def test_further_cdrs_of_a_held_call_wait_with_it_and_cost_the_others_nothing(
    loader: Loader, database_url: str
) -> None:
    execute(database_url, HANG.format(condition="new.call_id = 'c5'"))
    load(loader, 5)
    fold_waiting_calls(loader.database)
    fold_held_calls(loader.database)
    load(loader, 5, type="Queue")
    load(loader, 6)
    assert fold_waiting_calls(loader.database) == 1
    assert calls(database_url) == {"c6"}
    [entry] = waiting(database_url)
    assert len(set(entry["call_keys"])) == 1

    execute(database_url, "DROP FUNCTION hang CASCADE")
    due(database_url)
    assert fold_held_calls(loader.database) == 1
    [row] = select(database_url, "SELECT leg_count FROM cdr.calls WHERE call_id = 'c5'")
    assert row["leg_count"] == 2


def test_a_call_that_fails_for_long_is_told_in_the_outbox(
    loader: Loader, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold_calls, "MAX_TRIES", 2)
    execute(database_url, HANG.format(condition="true"))
    load(loader, 5)
    fold_waiting_calls(loader.database)
    for _ in range(2):
        due(database_url)
        fold_held_calls(loader.database)
    [entry] = waiting(database_url)
    assert (entry["retry_at"], "57014" in entry["error"]) == (None, True)


def test_the_wait_of_a_held_call_grows_up_to_five_minutes(loader: Loader, database_url: str) -> None:
    execute(database_url, HANG.format(condition="true"))
    load(loader, 5)
    fold_waiting_calls(loader.database)
    for tries, seconds in ((1, 10), (2, 20), (7, 300)):
        execute(database_url, "UPDATE cdr.outbox SET tries = %s", tries - 1)
        due(database_url)
        fold_held_calls(loader.database)
        [row] = select(
            database_url, "SELECT tries, extract(epoch FROM retry_at - now())::float8 AS left FROM cdr.outbox"
        )
        assert row["tries"] == tries
        assert seconds - 9 < row["left"] <= seconds


def test_a_bug_of_ours_in_one_call_stops_no_other(
    loader: Loader, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(loader, 5)
    [entry] = waiting(database_url)
    [poison] = entry["call_keys"]
    fold = fold_calls._fold

    def broken(cursor: Any, touched: Any) -> None:
        if str(poison) in touched:
            raise ZeroDivisionError("a bug of ours")
        fold(cursor, touched)

    monkeypatch.setattr(fold_calls, "_fold", broken)
    load(loader, *range(10))
    loader.fold()
    assert calls(database_url) == ids(*range(10)) - {"c5"}
    [entry] = waiting(database_url)
    assert entry["error"] == "ZeroDivisionError: a bug of ours"


def test_recordings_are_queued_whatever_becomes_of_the_calls(loader: Loader, database_url: str, redis_url: str) -> None:
    loader.load([delivery(leg("c", record="https://records.invalid/1.mp3"))])
    with redis.Redis.from_url(redis_url) as connection:
        with locked(database_url, "LOCK TABLE cdr.calls IN SHARE MODE"), pytest.raises(DatabaseUnavailable):
            work_off(loader.database, connection)
        assert connection.llen(queue_key(RECORDINGS)) == 1


def test_calls_are_folded_though_redis_is_away(loader: Loader, database_url: str) -> None:
    loader.load([delivery(leg("c", record="https://records.invalid/1.mp3"))])
    with redis.Redis(port=free_port()) as away, pytest.raises(QueueUnavailable):
        work_off(loader.database, away)
    assert calls(database_url) == {"c"}


def test_recordings_are_queued_for_a_time_only(loader: Loader, database_url: str, redis_url: str) -> None:
    for number in range(50):
        execute(database_url, "INSERT INTO cdr.outbox (kind, recording_ids) VALUES ('recordings', %s)", [number])
    with redis.Redis.from_url(redis_url) as connection:
        assert outbox.queue_waiting_recordings(loader.database, connection, 0) == 20
