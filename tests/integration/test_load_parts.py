"""Some connections load what a worker took; where several are not possible, or in each other's way, one loads all of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import psycopg
import pytest
from free_ports import free_port
from loading import NO_UPDATES, delivery, execute, leg, select
from structlog.testing import capture_logs

from common.delivery import Delivery
from common.errors import DatabaseUnavailable
from common.postgres import Database
from common.settings import AccountDefaults
from worker import load_parts
from worker.accounts import Accounts
from worker.extension_directory import ExtensionDirectory
from worker.load_parts import PartLoader
from worker.pipeline import Knowledge

ALONE = "loads one part at a time"
# Loads of the calls a and b take the one row first, those of c and d the other; each then wants both.
IN_EACH_OTHERS_WAY = """
CREATE TABLE totals (name text PRIMARY KEY, n int NOT NULL);
INSERT INTO totals VALUES ('one', 0), ('other', 0);
CREATE FUNCTION count_twice() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE totals SET n = n + 1 WHERE name = CASE WHEN new.call_id IN ('a', 'b') THEN 'one' ELSE 'other' END;
    PERFORM pg_sleep(0.5);
    UPDATE totals SET n = n + 1 WHERE name = CASE WHEN new.call_id IN ('a', 'b') THEN 'other' ELSE 'one' END;
    RETURN new;
END $$;
CREATE TRIGGER of_a_user BEFORE INSERT ON cdr.cdrs FOR EACH ROW EXECUTE FUNCTION count_twice();
"""


@pytest.fixture(autouse=True)
def parts_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_parts, "PART_CDRS", 2)


@pytest.fixture
def loader(database_url: str) -> Iterator[PartLoader]:
    with closing(Database(database_url, "first")) as first, closing(Database(database_url, "second")) as second:
        yield made_of(first, second)


def made_of(first: Database, *further: Database) -> PartLoader:
    return PartLoader(first, further, Knowledge(Accounts(AccountDefaults()), ExtensionDirectory()))


def calls(names: str) -> list[Delivery]:
    return [delivery(leg(name)) for name in names]


def counts(database_url: str) -> dict[str, int]:
    rows = select(database_url, "SELECT call_id, delivery_count FROM cdr.cdrs")
    return {row["call_id"]: row["delivery_count"] for row in rows}


def once(names: str) -> dict[str, int]:
    return dict.fromkeys(names, 1)


def alone(logs: list[Any]) -> list[str]:
    return [line["error"] for line in logs if line["event"] == ALONE]


def test_deliveries_of_one_call_are_in_one_part(loader: PartLoader, database_url: str) -> None:
    execute(database_url, NO_UPDATES)
    spelt_otherwise = [delivery({"IVR_UNIQUE_ID": name, **leg(name, ivruniqueid=None)}) for name in "abc"]
    loader.load([*calls("abc"), *spelt_otherwise])
    assert counts(database_url) == dict.fromkeys("abc", 2)


def test_where_there_is_no_second_connection_the_first_loads_all(database_url: str) -> None:
    nowhere = f"postgresql://127.0.0.1:{free_port()}/none"
    with closing(Database(database_url, "first")) as first, closing(Database(nowhere, "second")) as second:
        loader = made_of(first, second)
        with capture_logs() as logs:
            loader.load(calls("abcdef"))
            # It is not asked for again for a while.
            loader.load(calls("ghij"))
    assert counts(database_url) == once("abcdefghij")
    assert len(alone(logs)) == 1


def test_a_second_connection_that_broke_meanwhile_costs_nothing(loader: PartLoader, database_url: str) -> None:
    loader.load(calls("abcd"))
    execute(database_url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'second'")
    with capture_logs() as logs:
        loader.load(calls("efgh"))
    assert counts(database_url) == once("abcdefgh")
    assert len(alone(logs)) == 1


def test_parts_that_a_trigger_makes_wait_for_each_other_are_loaded_one_after_the_other(
    loader: PartLoader, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(IN_EACH_OTHERS_WAY)
    with capture_logs() as logs:
        loader.load(calls("abcd"))
    assert counts(database_url) == once("abcd")
    [error] = alone(logs)
    assert "40P01" in error
    totals = select(database_url, "SELECT n FROM totals")
    assert [row["n"] for row in totals] == [4, 4]


def test_two_are_loaded_at_once_again_after_a_while(
    loader: PartLoader, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_parts, "ALONE_SECONDS", 0.0)
    loader._stay_alone(DatabaseUnavailable("away"))
    let_each_wait_for(2, monkeypatch)
    loader.load(calls("abcd"))
    assert counts(database_url) == once("abcd")


def let_each_wait_for(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a part be loaded only when so many threads are about to load one."""
    together = threading.Barrier(threads)
    load_all = load_parts.load_all

    def load_when_all_would(*arguments: Any) -> None:
        together.wait(60)
        load_all(*arguments)

    monkeypatch.setattr(load_parts, "load_all", load_when_all_would)


def test_as_many_parts_are_loaded_at_once_as_there_are_connections(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_each_wait_for(3, monkeypatch)
    with ExitStack() as opened:
        databases = [opened.enter_context(closing(Database(database_url, name))) for name in ("1", "2", "3")]
        made_of(*databases).load(calls("abcdef"))
    assert counts(database_url) == once("abcdef")


def test_where_one_further_connection_is_missing_the_others_load(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_each_wait_for(2, monkeypatch)
    nowhere = f"postgresql://127.0.0.1:{free_port()}/none"
    with ExitStack() as opened:
        urls = (database_url, nowhere, database_url)
        databases = [opened.enter_context(closing(Database(url, "cdr"))) for url in urls]
        made_of(*databases).load(calls("abcdefgh"))
    assert counts(database_url) == once("abcdefgh")


def test_a_conflict_with_others_is_raised_where_one_loads_alone(
    loader: PartLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def conflict(*_: Any) -> None:
        tried.append(1)
        raise DatabaseUnavailable("in a deadlock", "40P01")

    monkeypatch.setattr(load_parts, "load_all", conflict)
    with pytest.raises(DatabaseUnavailable, match="in a deadlock"):
        loader.load(calls("abcdef"))
    assert 2 <= len(tried) <= 3


def test_no_part_is_begun_after_one_that_failed(loader: PartLoader, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []

    def fail_first(*_: Any) -> None:
        begun.append(1)
        if len(begun) == 1:
            raise ZeroDivisionError
        # The thread of the first part is on its way to say so.
        time.sleep(1)

    monkeypatch.setattr(load_parts, "load_all", fail_first)
    with pytest.raises(ZeroDivisionError):
        loader.load(calls("abcdefghijkl"))
    assert len(begun) <= 2
