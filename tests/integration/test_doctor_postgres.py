"""`cdr doctor` on a PostgreSQL in which something is missing: each cause is that check's finding and no other's."""

from __future__ import annotations

import subprocess
import time
import zoneinfo
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import psycopg
import pytest
from doctoring import OF_THE_TESTS, Here, at_work, here, product
from free_ports import free_port

from cdr.embedded_postgres import EmbeddedPostgres
from cdr.embedded_server import running
from migrations.apply import migrate, read_migrations

__all__ = ["here", "product"]

LAST = read_migrations()[-1].version
NOW = datetime.now(UTC)
INSERT = (
    "INSERT INTO cdr.cdrs (identity, provider_time, account, call_id, call_key, outcome, started_at, time_rule, payload,"
    " format, delivery_id, delivery_place, first_received_at, last_received_at)"
    " VALUES (sha256(%s::text::bytea), %s, 'a', 'c', gen_random_uuid(), 'other', now(), 'utc', '{}', 'json',"
    " gen_random_uuid(), 0, now(), now())"
)


def faults(here: Here) -> dict[str, str]:
    return {name: status for name, status in here.faults().items() if name not in OF_THE_TESTS}


def this_database(here: Here) -> str:
    return str(here.product.query("SELECT current_database()")[0][0])


@contextmanager
def own_server(folder: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(folder / "durable", free_port(), "only-for-tests")
    with running(server) as url:
        migrate(url)
        yield server


def test_a_server_as_we_set_it_up_is_well_and_as_a_standby_it_takes_no_writes(here: Here, open_path: Path) -> None:
    with own_server(open_path) as server:
        here.product.database_url = server.url()
        here.set(CDR_DATABASE_URL=server.url())
        with at_work(here.product):
            assert here.faults() == {}
    (server.cluster / "standby.signal").touch()
    with subprocess.Popen(server.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as standby:
        try:
            await_session(server.url())
            found = here.findings()
        finally:
            standby.send_signal(server.stop_signal)
    wrong = {name: each["detail"] for name, each in found.items() if each["status"] == "problem"}
    # A scheduler cannot work there either, and none does.
    assert wrong.pop("scheduler.alive")
    assert wrong == {"postgresql.writable": "it is a standby: it takes no writes"}


def await_session(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


def test_a_server_that_does_not_keep_what_it_commits_is_a_warning(here: Here) -> None:
    found = here.findings()["postgresql.durable"]
    assert found["status"] == "warning"
    assert found["detail"].startswith("off: fsync, full_page_writes: ")


def test_a_database_that_takes_no_writes_is_a_problem(here: Here) -> None:
    here.product.run(f"ALTER DATABASE {this_database(here)} SET default_transaction_read_only = on")
    assert faults(here) == {"postgresql.writable": "problem"}


def test_a_migration_that_is_not_applied_is_a_problem(here: Here) -> None:
    here.product.run("DELETE FROM cdr.migrations WHERE version = %s", LAST)
    assert faults(here) == {"postgresql.migrations": "problem"}
    found = here.findings()["postgresql.migrations"]
    assert (found["detail"], found["advice"]) == (f"not applied: {read_migrations()[-1].name}", "run: cdr migrate")


def test_a_migration_that_was_edited_is_a_problem(here: Here) -> None:
    here.product.run("UPDATE cdr.migrations SET checksum = 'another' WHERE version = 1")
    assert faults(here) == {"postgresql.migrations": "problem"}


def test_an_empty_database_is_one_problem(here: Here, empty_database_url: str) -> None:
    here.set(CDR_DATABASE_URL=empty_database_url)
    assert faults(here) == {"postgresql.migrations": "problem"}
    assert here.findings()["schema.insert"]["detail"] == "not checked: see postgresql.migrations"


def test_a_zone_that_only_python_knows_is_a_problem(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone = resources.files("tzdata").joinpath("zoneinfo", "Asia", "Jerusalem").read_bytes()
    (tmp_path / "Atlantis").mkdir()
    (tmp_path / "Atlantis" / "Capital").write_bytes(zone)
    zoneinfo.reset_tzpath([str(tmp_path)])
    try:
        here.set(CDR_TIME_ZONE="Atlantis/Capital")
        assert faults(here) == {"postgresql.time_zone": "problem"}
    finally:
        zoneinfo.reset_tzpath()


@contextmanager
def owner(here: Here, url: str) -> Iterator[str]:
    """Give the address of a database, migrated by an ordinary role, under which that role logs in."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE of_the_doctor LOGIN PASSWORD 'of-the-doctor'")
        try:
            connection.execute(f"GRANT CREATE ON DATABASE {connection.info.dbname} TO of_the_doctor".encode())
            owned = f"postgresql://of_the_doctor:of-the-doctor@{url.partition('@')[2]}"
            migrate(owned)
            here.set(CDR_DATABASE_URL=owned)
            here.product.database_url = owned
            with at_work(here.product):
                yield owned
        finally:
            connection.execute("DROP OWNED BY of_the_doctor CASCADE")
            connection.execute("DROP ROLE of_the_doctor")


REVOKED = {
    "INSERT ON cdr.cdrs": "INSERT on cdr.cdrs",
    "DELETE ON cdr.outbox": "DELETE on cdr.outbox",
    "SELECT ON cdr.cdrs_default": "SELECT on cdr.cdrs_default",
    "UPDATE ON cdr.calls": "UPDATE on cdr.calls",
}


@pytest.mark.parametrize("privilege", REVOKED)
def test_a_privilege_that_the_role_lacks_is_a_problem(here: Here, empty_database_url: str, privilege: str) -> None:
    with owner(here, empty_database_url), psycopg.connect(empty_database_url, autocommit=True) as connection:
        assert faults(here) == {}
        connection.execute(f"REVOKE {privilege} FROM of_the_doctor".encode())
        found = here.findings()
    wrong = {name: each["detail"] for name, each in found.items() if each["status"] == "problem"}
    assert wrong.pop("schema.privileges") == f"the role lacks {REVOKED[privilege]}"
    assert not {name for name in wrong if name != "schema.default_partition"}


def test_a_function_and_temporary_tables_may_be_denied_too(here: Here, empty_database_url: str) -> None:
    with owner(here, empty_database_url), psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("REVOKE EXECUTE ON FUNCTION cdr.call_key FROM PUBLIC, of_the_doctor")
        connection.execute(f"REVOKE TEMPORARY ON DATABASE {connection.info.dbname} FROM PUBLIC".encode())
        found = here.findings()["schema.privileges"]
    assert found["detail"] == "the role lacks EXECUTE on cdr.call_key(text, text), TEMPORARY on the database"


def test_a_role_that_owns_nothing_cannot_make_partitions(here: Here, empty_database_url: str) -> None:
    with owner(here, empty_database_url) as owned, psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE cdr.cdrs OWNER TO CURRENT_USER")
        connection.execute("GRANT ALL ON cdr.cdrs TO of_the_doctor")
        assert faults(here) == {"schema.privileges": "warning"}, owned


def test_a_database_that_refuses_the_trial_is_a_problem_and_nothing_is_left_of_it(here: Here) -> None:
    assert here.findings()["schema.insert"]["status"] == "ok"
    assert here.product.count("cdr.cdrs") == 0
    here.product.run(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'the disk is full'; END $$"
    )
    here.product.run("CREATE TRIGGER refuse BEFORE INSERT ON cdr.cdrs FOR EACH ROW EXECUTE FUNCTION refuse()")
    assert faults(here) == {"schema.insert": "problem"}


@pytest.mark.parametrize("months", [0, 1])
def test_a_month_without_its_partition_is_a_warning(here: Here, months: int) -> None:
    month = f"{(NOW.year * 12 + NOW.month - 1 + months) // 12}_{(NOW.month - 1 + months) % 12 + 1:02}"
    here.product.run(f"ALTER TABLE cdr.cdrs DETACH PARTITION cdr.cdrs_{month}")
    assert faults(here) == {"schema.partitions": "warning"}
    assert f"missing: cdrs_{month}:" in here.findings()["schema.partitions"]["detail"]


def test_rows_that_the_scheduler_has_not_moved_out_of_the_default_partition_are_a_warning(here: Here) -> None:
    here.product.run(INSERT, "no time", "1970-01-01")
    here.product.run("UPDATE cdr.cdrs SET loaded_at = now() - interval '1 year'")
    assert faults(here) == {}
    assert "none of a month" in here.findings()["schema.default_partition"]["detail"]
    here.product.run(INSERT, "imported", f"{NOW.year - 3}-01-15")
    here.product.run("UPDATE cdr.cdrs SET loaded_at = now() - interval '3 hours' WHERE provider_time > '1971-01-01'")
    assert faults(here) == {"schema.default_partition": "warning"}
    found = here.findings()["schema.default_partition"]
    assert found["detail"].startswith("1 CDRs belong into the partition of their month, one for 3:00:0")


def test_rows_that_the_scheduler_will_move_within_the_hour_are_no_warning(here: Here) -> None:
    here.product.run(INSERT, "the sample", f"{NOW.year - 3}-01-15")
    here.product.run("UPDATE cdr.cdrs SET loaded_at = now() - interval '1 hour'")
    assert faults(here) == {}
    assert "cdr scheduler moves them every hour" in here.findings()["schema.default_partition"]["detail"]


def test_an_outbox_that_waits_is_a_warning(here: Here) -> None:
    here.product.run("INSERT INTO cdr.outbox (kind) VALUES ('calls')")
    assert faults(here) == {}
    here.product.run("INSERT INTO cdr.outbox (kind, created_at) VALUES ('calls', now() - interval '1 hour')")
    assert faults(here) == {"schema.outbox": "warning"}


def test_a_call_that_cannot_be_folded_is_a_warning(here: Here) -> None:
    here.product.run("INSERT INTO cdr.outbox (kind, error, created_at) VALUES ('calls', 'no', now() - interval '1 h')")
    assert faults(here) == {"schema.outbox": "warning"}
    assert "cdr.outbox.error" in here.findings()["schema.outbox"]["detail"]


def test_a_body_that_was_no_cdr_waits_for_a_person(here: Here) -> None:
    here.product.run(
        "INSERT INTO cdr.quarantine (received_at, last_received_at, account, format, reason, error, body, sha256)"
        " VALUES (now(), now(), 'default', 'json', 'unreadable', 'no', 'x', 'x')"
    )
    assert faults(here) == {"quarantine.kept": "warning"}
    here.product.run("UPDATE cdr.quarantine SET status = 'discarded'")
    assert faults(here) == {}


def test_recordings_that_were_refused_today_are_told_with_a_reason(here: Here) -> None:
    here.product.run(
        "INSERT INTO cdr.recordings (identity, provider_time, account, call_id, started_at, source_url, source_key,"
        " status, last_error) VALUES ('x', '2026-01-01', 'a', 'c', now(), 'http://other.invalid/x?y', 'x', 'refused',"
        " 'other.invalid is not in CDR_RECORDING_HOSTS')"
    )
    assert faults(here) == {"schema.recordings": "warning"}
    assert "other.invalid is not in CDR_RECORDING_HOSTS" in here.findings()["schema.recordings"]["detail"]
    here.product.run("UPDATE cdr.recordings SET updated_at = now() - interval '2 days'")
    assert faults(here) == {}


def test_a_table_that_another_session_holds_does_not_hold_up_the_doctor(here: Here) -> None:
    with psycopg.connect(here.product.database_url) as other:
        other.execute("LOCK TABLE cdr.outbox IN ACCESS EXCLUSIVE MODE")
        found = here.findings()
    assert {name for name, each in found.items() if each["status"] == "problem"} == {"schema.outbox"}
    assert found["scheduler.alive"]["status"] == "ok"


def test_without_a_scheduler_it_is_a_problem(here: Here) -> None:
    here.product.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cdr scheduler'")
    assert faults(here) == {"scheduler.alive": "problem"}


def test_a_scheduler_that_hangs_is_a_problem(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdr.doctor.schema_checks.SCHEDULER_SECONDS", 0)
    assert faults(here) == {"scheduler.alive": "problem"}
