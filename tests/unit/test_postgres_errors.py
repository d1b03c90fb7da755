"""Each of PostgreSQL's errors waits, waits for a migration, or is the fault of the values."""

from __future__ import annotations

import psycopg
import pytest

from common.errors import DatabaseNotReady, DatabaseUnavailable, RefusedByDatabase
from common.postgres import Database, translate


@pytest.mark.parametrize(
    ("sqlstate", "meaning"),
    [
        ("08006", DatabaseUnavailable),  # connection_failure
        ("25006", DatabaseUnavailable),  # read_only_sql_transaction: a standby
        ("25P03", DatabaseUnavailable),  # idle_in_transaction_session_timeout
        ("40001", DatabaseUnavailable),  # serialization_failure
        ("40P01", DatabaseUnavailable),  # deadlock_detected
        ("53100", DatabaseUnavailable),  # disk_full
        ("53300", DatabaseUnavailable),  # too_many_connections
        ("55P03", DatabaseUnavailable),  # lock_not_available
        ("57014", DatabaseUnavailable),  # query_canceled
        ("57P01", DatabaseUnavailable),  # admin_shutdown
        ("58030", DatabaseUnavailable),  # io_error
        ("XX000", DatabaseUnavailable),  # internal_error
        ("0A000", DatabaseNotReady),  # feature_not_supported
        ("28000", DatabaseNotReady),  # invalid_authorization_specification
        ("3F000", DatabaseNotReady),  # invalid_schema_name
        ("42501", DatabaseNotReady),  # insufficient_privilege
        ("42703", DatabaseNotReady),  # undefined_column
        ("42P01", DatabaseNotReady),  # undefined_table
        ("22001", RefusedByDatabase),  # string_data_right_truncation
        ("22003", RefusedByDatabase),  # numeric_value_out_of_range
        ("22P02", RefusedByDatabase),  # invalid_text_representation
        ("22P05", RefusedByDatabase),  # untranslatable_character
        ("23502", RefusedByDatabase),  # not_null_violation
        ("23514", RefusedByDatabase),  # check_violation
        ("54000", RefusedByDatabase),  # program_limit_exceeded
        ("P0001", RefusedByDatabase),  # raise_exception, by a trigger of the user's
    ],
)
def test_a_sqlstate_has_its_meaning(sqlstate: str, meaning: type[Exception]) -> None:
    assert type(translate(psycopg.errors.lookup(sqlstate)("what happened"))) is meaning


@pytest.mark.parametrize("error", [psycopg.OperationalError("the connection is lost"), psycopg.InterfaceError()])
def test_a_lost_connection_is_waited_for(error: psycopg.Error) -> None:
    assert type(translate(error)) is DatabaseUnavailable


def test_a_value_that_the_driver_cannot_send_is_refused() -> None:
    assert type(translate(psycopg.DataError("cannot contain NUL"))) is RefusedByDatabase


def test_a_refusal_keeps_its_sqlstate() -> None:
    error = translate(psycopg.errors.CheckViolation("what happened"))
    assert isinstance(error, RefusedByDatabase)
    assert error.sqlstate == "23514"


def test_an_error_without_words_has_its_name() -> None:
    assert str(translate(psycopg.InterfaceError())) == "InterfaceError"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://127.0.0.1:1/cdr",
        "postgresql://no-such-host.invalid/cdr",
        "postgresql://127.0.0.1/cdr?no_such_option=1",
        "postgresql://127.0.0.1:port/cdr",
    ],
)
def test_a_database_that_cannot_be_reached_is_waited_for(url: str) -> None:
    # An address that is wrong is no fault of the CDR that happens to be next.
    with pytest.raises(DatabaseUnavailable), Database(url, "test").transaction():
        pass
