"""Migrations are applied once and in order, by any number of processes, whoever is killed, and may be read by all."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cdr.embedded_postgres import EmbeddedPostgres
from common.errors import ConfigurationError, DatabaseNotReady, DatabaseUnavailable
from common.partitions import make_partitions
from common.postgres import Database
from migrations import apply
from migrations.apply import FOLDER, migrate, read_migrations, status

NAMES = [migration.name for migration in read_migrations()]
PARTITIONS = "SELECT relname FROM pg_partition_tree('cdr.cdrs') JOIN pg_class ON oid = relid WHERE level = 1"


def rows(url: str, query: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query.encode(), values or None).fetchall()


def run(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def start_migrate(url: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from cdr.main import main; main()", "migrate"]
    return subprocess.Popen(command, env={**os.environ, "CDR_DATABASE_URL": url}, stdout=subprocess.DEVNULL)


def test_an_empty_database_gets_every_migration(empty_database_url: str) -> None:
    assert migrate(empty_database_url) == NAMES


def test_a_second_run_changes_nothing(database_url: str) -> None:
    assert migrate(database_url) == []


def test_status_tells_what_is_applied(database_url: str) -> None:
    assert status(database_url) == [(name, True) for name in NAMES]


def test_status_changes_nothing(empty_database_url: str) -> None:
    assert status(empty_database_url) == [(name, False) for name in NAMES]
    assert rows(empty_database_url, "SELECT to_regnamespace('cdr')") == [(None,)]


def test_two_processes_may_migrate_at_once(empty_database_url: str) -> None:
    processes = [start_migrate(empty_database_url) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert rows(empty_database_url, "SELECT count(*) FROM cdr.migrations") == [(len(NAMES),)]


def test_a_migrate_that_was_killed_leaves_no_trace(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as blocker:
        # The killed one has done all of the first file but for its last line: it waits for the ledger.
        blocker.execute("CREATE SCHEMA cdr")
        blocker.execute("CREATE TABLE cdr.migrations (version integer PRIMARY KEY, name text, checksum text)")
        blocker.execute("ALTER TABLE cdr.migrations ADD applied_at timestamptz DEFAULT now()")
        blocker.commit()
        blocker.execute("LOCK TABLE cdr.migrations IN SHARE MODE")
        victim = start_migrate(empty_database_url)
        waiting = b"SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        while not blocker.execute(waiting).fetchall():
            assert victim.poll() is None
            blocker.execute("SELECT pg_stat_clear_snapshot()")
        victim.kill()
        victim.wait()
    assert migrate(empty_database_url) == NAMES


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for path in FOLDER.glob("*.sql"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(apply, "FOLDER", tmp_path)
    monkeypatch.setattr(read_migrations, "__defaults__", (tmp_path,))
    return tmp_path


def test_an_edited_file_is_refused(database_url: str, folder: Path) -> None:
    with (folder / f"{NAMES[0]}.sql").open("a", encoding="utf-8") as file:
        file.write("-- a late thought\n")
    with pytest.raises(ConfigurationError, match="was edited"):
        migrate(database_url)


def test_a_gap_in_the_numbers_is_refused(database_url: str, folder: Path) -> None:
    (folder / "0099_later.sql").write_text("SELECT 1;", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="without a gap"):
        migrate(database_url)


def test_a_number_used_twice_is_refused(database_url: str, folder: Path) -> None:
    (folder / "0002_another.sql").write_text("SELECT 1;", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="without a gap"):
        migrate(database_url)


def test_a_migration_that_fails_is_undone_as_a_whole(database_url: str, folder: Path) -> None:
    file = folder / f"{len(NAMES) + 1:04}_broken.sql"
    file.write_text("CREATE TABLE cdr.half (); SELECT * FROM cdr.missing;", encoding="utf-8")
    with pytest.raises(DatabaseNotReady):
        migrate(database_url)
    assert rows(database_url, "SELECT to_regclass('cdr.half')") == [(None,)]


def test_a_migrate_waits_for_another_only_so_long(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "LOCK_WAIT_SECONDS", 0)
    with psycopg.connect(database_url) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [apply._LOCK_KEY])
        with pytest.raises(DatabaseNotReady, match="another migrate"):
            migrate(database_url)


def test_a_migrate_that_loses_its_connection_says_so(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(connection: psycopg.Connection) -> None:
        connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    monkeypatch.setattr(apply, "_make_ledger", cut)
    with pytest.raises(DatabaseUnavailable):
        migrate(empty_database_url)


def test_a_database_that_cannot_hold_hebrew_is_refused(postgres_server: EmbeddedPostgres) -> None:
    run(
        postgres_server.url("postgres"),
        "CREATE DATABASE latin TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LOCALE 'C'",
    )
    try:
        with pytest.raises(ConfigurationError, match="SQL_ASCII"):
            migrate(postgres_server.url("latin"))
    finally:
        run(postgres_server.url("postgres"), "DROP DATABASE latin")


@contextmanager
def role(url: str, options: str) -> Iterator[str]:
    """Make a role for the length of the block, and give the address under which it logs in."""
    run(url, f"CREATE ROLE of_the_test LOGIN PASSWORD 'of-the-test' {options}")
    try:
        yield psycopg.conninfo.make_conninfo(url, user="of_the_test", password="of-the-test")
    finally:
        run(url, "REASSIGN OWNED BY of_the_test TO CURRENT_USER")
        run(url, "DROP OWNED BY of_the_test")
        run(url, "DROP ROLE of_the_test")


def relations(url: str) -> list[str]:
    query = (
        "SELECT 'cdr.' || relname FROM pg_class WHERE relnamespace = 'cdr'::regnamespace AND relkind IN ('r', 'p', 'v')"
    )
    return [name for (name,) in rows(url, query)]


def test_the_reader_may_read_all_of_it(database_url: str) -> None:
    with role(database_url, "IN ROLE cdr_reader") as reader:
        for name in relations(database_url):
            rows(reader, f"SELECT * FROM {name} LIMIT 1")


def test_the_reader_may_read_later_partitions(database_url: str) -> None:
    rows(database_url, "SELECT cdr.make_partition('2031-05-01')")
    with role(database_url, "IN ROLE cdr_reader") as reader:
        assert rows(reader, "SELECT * FROM cdr.cdrs_2031_05") == []


@pytest.mark.parametrize("statement", ["DELETE FROM {}", "TRUNCATE {}", "DROP TABLE {}", "ALTER TABLE {} ADD x text"])
def test_the_reader_may_change_nothing(database_url: str, statement: str) -> None:
    tables = [name for name in relations(database_url) if name != "cdr.voicenter_cdr"]
    with role(database_url, "IN ROLE cdr_reader") as reader:
        for name in tables:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                run(reader, statement.format(name))


def test_the_reader_may_make_no_partition(database_url: str) -> None:
    with role(database_url, "IN ROLE cdr_reader") as reader, pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows(reader, "SELECT cdr.make_partition('2031-05-01')")


def test_a_user_who_may_not_make_roles_still_migrates(empty_database_url: str) -> None:
    with role(empty_database_url, "NOCREATEROLE") as owner:
        [(name,)] = rows(empty_database_url, "SELECT current_database()")
        run(empty_database_url, f"GRANT CREATE ON DATABASE {name} TO of_the_test")
        assert migrate(owner) == NAMES


def test_a_missing_reader_that_may_not_be_made_is_only_reported(empty_database_url: str, folder: Path) -> None:
    script = (folder / "reader_role.sql").read_text(encoding="utf-8").replace("cdr_reader", "cdr_reader_of_nobody")
    (folder / "reader_role.sql").write_text(script, encoding="utf-8")
    with role(empty_database_url, "NOCREATEROLE") as owner:
        [(name,)] = rows(empty_database_url, "SELECT current_database()")
        run(empty_database_url, f"GRANT CREATE ON DATABASE {name} TO of_the_test")
        assert migrate(owner) == NAMES


INSERT = (
    "INSERT INTO cdr.cdrs (identity, provider_time, account, call_id, call_key, outcome, started_at, time_rule, payload,"
    " format, delivery_id, delivery_place, first_received_at, last_received_at)"
    " VALUES (sha256(%s::text::bytea), %s, 'a', 'c', gen_random_uuid(), 'other', now(), 'utc', '{}', 'json',"
    " gen_random_uuid(), 0, now(), now())"
)


def insert_at(url: str, *times: str) -> None:
    with psycopg.connect(url) as connection:
        for time in times:
            connection.execute(INSERT.encode(), [time, time])


def partitions(url: str) -> set[str]:
    return {name.removeprefix("cdrs_") for (name,) in rows(url, PARTITIONS)}


def test_a_new_partition_takes_its_rows_out_of_the_default_one(database_url: str) -> None:
    insert_at(database_url, "2031-04-30 23:59:59", "2031-05-01", "2031-05-31 23:59:59", "2031-06-01")
    assert rows(database_url, "SELECT cdr.make_partition('2031-05-01')") == [(True,)]
    assert rows(database_url, "SELECT count(*) FROM cdr.cdrs_2031_05") == [(2,)]
    assert rows(database_url, "SELECT count(*) FROM cdr.cdrs_default") == [(2,)]


def test_a_partition_is_made_once(database_url: str) -> None:
    rows(database_url, "SELECT cdr.make_partition('2031-05-01')")
    assert rows(database_url, "SELECT cdr.make_partition('2031-05-17')") == [(False,)]


def test_a_cdr_is_unique_in_a_partition_that_was_made_later(database_url: str) -> None:
    insert_at(database_url, "2031-05-02")
    rows(database_url, "SELECT cdr.make_partition('2031-05-01')")
    with pytest.raises(psycopg.errors.UniqueViolation):
        insert_at(database_url, "2031-05-02")


def test_a_partition_is_made_while_rows_of_its_month_come_in(database_url: str) -> None:
    months = [f"2031-{month:02}-01" for month in range(1, 13)]
    stop = threading.Event()

    def insert() -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            while not stop.is_set():
                for month in months:
                    connection.execute(INSERT.encode(), [str(uuid.uuid4()), month])

    inserting = [threading.Thread(target=insert) for _ in range(3)]
    for thread in inserting:
        thread.start()
    try:
        made = [rows(database_url, "SELECT cdr.make_partition(%s)", month) for month in months]
    finally:
        stop.set()
        for thread in inserting:
            thread.join()
    assert made == [[(True,)]] * 12
    assert rows(database_url, "SELECT count(*) FROM cdr.cdrs_default") == [(0,)]


def test_partitions_are_made_for_the_months_ahead(database_url: str) -> None:
    now = datetime.now(UTC)
    ahead = {
        f"{(now.year * 12 + now.month - 1 + step) // 12}_{(now.month - 1 + step) % 12 + 1:02}" for step in range(-1, 7)
    }
    assert partitions(database_url) == {"default"} | ahead


def test_an_imported_history_gets_its_partitions(database_url: str) -> None:
    year = datetime.now(UTC).year
    insert_at(database_url, f"{year - 3}-01-15", f"{year - 3}-03-15")
    with closing(Database(database_url, "test")) as database:
        made = make_partitions(database)
    assert made == 2
    assert {f"{year - 3}_01", f"{year - 3}_03"} < partitions(database_url)


def test_a_wrong_clock_makes_no_partition(database_url: str) -> None:
    before = partitions(database_url)
    insert_at(database_url, "1970-01-01", "2099-12-31")
    with closing(Database(database_url, "test")) as database:
        make_partitions(database)
    assert partitions(database_url) == before


NAMED_BY_INTERFACE = {
    "cdrs": """provider_time, account, call_id, original_call_id, call_type, direction, disposition, outcome, started_at,
        time_raw, time_rule, talk_seconds, ring_seconds, queue_wait_seconds, caller_number, caller_e164,
        caller_country_code, caller_country, caller_kind, called_party, called_e164, called_country_code,
        called_country, called_kind, did_number, did_e164, acd_queue_id, acd_queue_name, caller_extension_code,
        caller_extension_name, answering_extension_code, answering_extension_name, agent_code, agent_name,
        price_agorot, recording_url, ivr_path, custom, ai, payload, problems, first_received_at, last_received_at,
        delivery_count, loaded_at""",
    "calls": """account, call_id, call_ids, started_at, ended_at, direction, caller_number, caller_e164,
        caller_country_code, called_party, called_e164, called_country_code, did_number, acd_queue_name, agent_code,
        agent_name, outcome, queue_wait_seconds, ring_seconds, talk_seconds, price_agorot, leg_count,
        recording_count, last_received_at""",
    "recordings": "status, storage_key, bytes, sha256, seconds, attempts, last_error, source_url",
    "quarantine": "received_at, account, format, reason, error, body, status, headers, sha256, last_received_at",
    "accounts": "account, time_zone, time_rule, time_fallback, default_region, duration_includes_wait",
    "countries": "code, name_en, name_he",
    "extensions": "account, extension_code, extension_name",
    "call_types": "call_type, description",
    "dispositions": "disposition, outcome, description",
}


@pytest.mark.parametrize("table", NAMED_BY_INTERFACE)
def test_every_column_of_the_public_face_is_there(database_url: str, table: str) -> None:
    rows(database_url, f"SELECT {NAMED_BY_INTERFACE[table]} FROM cdr.{table} LIMIT 1")


def test_every_table_says_what_it_holds(database_url: str) -> None:
    silent = [
        name
        for name in relations(database_url)
        if not name.removeprefix("cdr.").startswith("cdrs_")
        and rows(database_url, "SELECT obj_description(%s::regclass)", name) == [(None,)]
    ]
    assert silent == []


def test_every_constraint_was_given_its_name(database_url: str) -> None:
    query = (
        "SELECT conname FROM pg_constraint WHERE connamespace = 'cdr'::regnamespace AND contype NOT IN ('n')"
        " AND conrelid NOT IN (SELECT relid FROM pg_partition_tree('cdr.cdrs')) AND conname ~ '(_key|_check|_fkey)[0-9]*$'"
    )
    assert rows(database_url, query) == []
