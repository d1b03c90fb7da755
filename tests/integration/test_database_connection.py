"""The connection: its time limits, how it is replaced, and what a lost answer costs."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from command_line import Product, product
from command_line import delivery as old_delivery
from loading import Loader, delivery, leg, select
from tcp_proxy import TcpProxy

from common import postgres
from common.errors import DatabaseNotReady, DatabaseUnavailable, RefusedByDatabase
from common.job_queue import CDRS, failed_key
from common.postgres import CHANGING_TABLES, IN_DOUBT, Database, Limits, connect

__all__ = ["product"]


@pytest.fixture
def proxy(database_url: str) -> Iterator[TcpProxy]:
    with TcpProxy(psycopg.conninfo.conninfo_to_dict(database_url)["port"]) as made:
        yield made


@pytest.fixture
def proxied_url(database_url: str, proxy: TcpProxy) -> str:
    port = psycopg.conninfo.conninfo_to_dict(database_url)["port"]
    return database_url.replace(f":{port}/", f":{proxy.port}/")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    made = Database(database_url, "test")
    yield made
    made.close()


def pid_of(database: Database) -> int:
    with database.transaction() as cursor:
        [pid] = cursor.execute("SELECT pg_backend_pid()").fetchone() or ()
    return int(pid)


def shown(cursor: Any, *names: str) -> list[str]:
    return [cursor.execute(f"SHOW {name}".encode()).fetchone()[0] for name in names]


# As the protocol sends it: the letter, its length, the text.
COMMIT = b"Q\0\0\0\x0bCOMMIT\0"
LIMITS = ("statement_timeout", "lock_timeout")


def test_both_ends_notice_a_peer_that_is_gone(database_url: str) -> None:
    with connect(database_url, "test") as connection:
        ours = connection.info.get_parameters()
        theirs = shown(connection, "tcp_keepalives_idle", "tcp_user_timeout", "idle_in_transaction_session_timeout")
    assert theirs == ["10", "20000", "1min"]
    assert ours.items() >= {"keepalives_idle": "10", "keepalives_count": "3", "tcp_user_timeout": "20000"}.items()
    assert ours["connect_timeout"] == "2"


def test_a_statement_and_a_lock_are_bounded(database: Database) -> None:
    with database.transaction() as cursor:
        assert shown(cursor, *LIMITS) == ["30s", "10s"]


def test_a_transaction_may_have_limits_of_its_own(database: Database) -> None:
    with database.transaction(IN_DOUBT) as cursor:
        assert shown(cursor, *LIMITS) == ["5s", "2s"]
    with database.transaction() as cursor:
        assert shown(cursor, *LIMITS) == ["30s", "10s"]


def test_changes_of_the_schema_take_their_time(database_url: str) -> None:
    with connect(database_url, "test", CHANGING_TABLES) as connection:
        assert (shown(connection, *LIMITS), connection.answer_seconds) == (["0", "5s"], None)


def test_a_statement_that_takes_too_long_is_in_doubt(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable) as raised, database.transaction(Limits(0.2, 1)) as cursor:
        cursor.execute("SELECT pg_sleep(60)")
    assert raised.value.sqlstate == "57014"


def test_what_is_not_kept_is_taken_back(database: Database) -> None:
    with database.transaction(keep=False) as cursor:
        cursor.execute("INSERT INTO cdr.accounts (account) VALUES ('a')")
    with database.transaction() as cursor:
        assert cursor.execute("SELECT FROM cdr.accounts").fetchall() == []


def test_a_connection_that_broke_is_replaced_at_the_next_transaction(database: Database, database_url: str) -> None:
    pid = pid_of(database)
    with connect(database_url, "test") as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
    with pytest.raises(DatabaseUnavailable):
        pid_of(database)
    assert pid_of(database) != pid


def fail(database: Database, sqlstate: str) -> None:
    with database.transaction() as cursor:
        cursor.execute("INSERT INTO cdr.accounts (account) VALUES ('not kept')")
        cursor.execute(f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{sqlstate}'; END $$".encode())


@pytest.mark.parametrize(("sqlstate", "kept"), [("40P01", False), ("57014", False), ("23514", True), ("42P01", True)])
def test_only_a_failure_that_may_be_the_connections_costs_it(database: Database, sqlstate: str, kept: bool) -> None:
    pid = pid_of(database)
    with pytest.raises((DatabaseUnavailable, RefusedByDatabase, DatabaseNotReady)):
        fail(database, sqlstate)
    assert (pid_of(database) == pid) is kept


def test_a_refusal_tells_the_constraint_and_nothing_of_the_row(database: Database) -> None:
    with database.transaction() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE kept (url text CONSTRAINT of_a_user CHECK (url = ''))")
    row = ["https://records.invalid/?signature=" + "hush".upper()]
    with pytest.raises(RefusedByDatabase) as raised, database.transaction() as cursor:
        cursor.execute("INSERT INTO kept VALUES (%s)", row)
    assert str(raised.value) == 'new row for relation "kept" violates check constraint "of_a_user"'
    told = "".join(traceback.format_exception(raised.value))
    assert "HUSH" not in told
    # The place in our code is told all the same.
    assert "INSERT INTO kept VALUES (%s)" in told


def test_a_savepoint_that_fails_costs_nothing_around_it(database: Database) -> None:
    with database.transaction() as cursor:
        cursor.execute("INSERT INTO cdr.accounts (account) VALUES ('kept')")
        with pytest.raises(DatabaseUnavailable):
            fail(database, "57014")
    with database.transaction() as cursor:
        assert cursor.execute("SELECT account FROM cdr.accounts").fetchall() == [("kept",)]


def test_nothing_is_done_outside_a_transaction_whose_connection_is_lost(database: Database, database_url: str) -> None:
    def lose_and_go_on() -> None:
        with database.transaction() as cursor:
            [pid] = cursor.execute("SELECT pg_backend_pid()").fetchone() or ()
            with connect(database_url, "test") as other:
                other.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
            with pytest.raises(psycopg.OperationalError):
                cursor.execute("SELECT 1")
            with database.transaction() as inner:
                inner.execute("INSERT INTO cdr.accounts (account) VALUES ('alone')")

    with pytest.raises(DatabaseUnavailable, match="within a transaction"):
        lose_and_go_on()
    with database.transaction() as cursor:
        assert cursor.execute("SELECT FROM cdr.accounts").fetchall() == []


def test_a_server_that_takes_a_connection_and_answers_nothing_on_it_is_away(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As behind a pooler whose connections are all taken.
    monkeypatch.setattr(postgres, "_COMMIT_TO_DISK", b"SELECT pg_sleep(20)")
    monkeypatch.setattr(postgres, "ANSWER_GRACE_SECONDS", -29.5)

    with pytest.raises(DatabaseUnavailable):
        connect(database_url, "test", Limits(statement_seconds=30, lock_seconds=10))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "ANSWER_GRACE_SECONDS", 0.5)


def ask_nobody(database: Database, proxy: TcpProxy) -> None:
    with database.transaction(Limits(0.5, 0.5)) as cursor:
        proxy.silent = True
        cursor.execute("SELECT 1")


def copy_into_nothing(database: Database, proxy: TcpProxy) -> None:
    with database.transaction(Limits(0.5, 0.5)) as cursor:
        cursor.execute("CREATE TEMPORARY TABLE filled (value text)")
        proxy.silent = True
        with cursor.copy("COPY filled FROM STDIN") as copy:
            copy.write_row(["x" * 100_000])


def test_an_answer_that_never_comes_is_not_waited_for(impatient: None, proxied_url: str, proxy: TcpProxy) -> None:
    database = Database(proxied_url, "test")
    pid = pid_of(database)
    with pytest.raises(DatabaseUnavailable):
        ask_nobody(database, proxy)
    proxy.silent = False
    assert pid_of(database) != pid
    database.close()


def test_a_copy_into_nothing_is_not_waited_for(impatient: None, proxied_url: str, proxy: TcpProxy) -> None:
    database = Database(proxied_url, "test")
    with pytest.raises(DatabaseUnavailable):
        copy_into_nothing(database, proxy)
    database.close()


def test_an_address_that_takes_connections_and_says_nothing_is_given_up(proxied_url: str, proxy: TcpProxy) -> None:
    proxy.silent = True
    with pytest.raises(DatabaseUnavailable):
        connect(proxied_url, "test")


def test_a_batch_whose_commit_was_not_answered_is_loaded_once(
    proxied_url: str, database_url: str, proxy: TcpProxy
) -> None:
    record = "https://records.invalid/1.mp3"
    batch = [delivery(leg(f"c{number}", record=record)) for number in range(20)]
    loader = Loader(proxied_url)
    loader.load([delivery(leg("c0", did="1"), received=-1)])
    proxy.cut_after = COMMIT
    with pytest.raises(DatabaseUnavailable):
        loader.load(batch)
    after_one = everything(database_url)
    assert len(after_one["cdrs"]) == 20

    loader.load(batch)
    loader.database.close()

    assert everything(database_url) == after_one
    assert {row["delivery_count"] for row in after_one["cdrs"]} == {1, 2}


def everything(url: str) -> dict[str, list[dict[str, Any]]]:
    tables = {"cdrs": "identity", "deliveries": "delivery_id", "recordings": "recording_id", "outbox": "outbox_id"}
    return {table: select(url, f"SELECT * FROM cdr.{table} ORDER BY {key}") for table, key in tables.items()}


def test_a_worker_whose_commits_are_not_answered_fails_nothing(
    product: Product, proxied_url: str, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDR_DATABASE_URL", proxied_url)
    for number in range(5):
        product.enqueue([old_delivery(number)])
        proxy.cut_after = COMMIT
        product.work()
    assert proxy.cuts == 5
    assert product.query("SELECT delivery_count, count(*) FROM cdr.cdrs GROUP BY 1") == [(1, 5)]
    assert product.redis.zcard(failed_key(CDRS)) == 0
