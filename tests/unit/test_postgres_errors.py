"""Each of PostgreSQL's errors waits, is in doubt, or is the fault of the values: on purpose, and as the docs say."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import psycopg.errors
import pytest

from common.errors import ConfigurationError, DatabaseNotReady, DatabaseUnavailable, RefusedByDatabase
from common.postgres import Database, translate
from common.sqlstates import CLASSES, CODES, Decision, decide

DOCS = Path(__file__).parents[2] / "docs" / "failures.md"


ERRORS = {
    error.sqlstate: error
    for error in vars(psycopg.errors).values()
    if isinstance(error, type) and issubclass(error, psycopg.Error) and isinstance(error.sqlstate, str)
}

# Written out a second time, so that no change of the table goes unnoticed: every class that psycopg knows, and the codes
# that decide otherwise than their class.
WAIT = {"08", "40", "53", "57", "F0", "25006", "25P03"}
SCHEMA = {"0A", "0L", "0P", "26", "28", "2B", "3D", "3F", "42"}
HOLD = {"55", "58"}
SUSPECT = {"03", "0B", "0F", "24", "25", "2D", "34", "3B", "72", "HV", "XX", "53200", "53400", "57014"}
REFUSE = {"02", "09", "0Z", "10", "20", "21", "22", "23", "27", "2F", "38", "39", "44", "54", "P0"}
EXPECTED = {
    code: decision
    for decision, codes in (
        (Decision.WAIT, WAIT),
        (Decision.SCHEMA, SCHEMA),
        (Decision.HOLD, HOLD),
        (Decision.SUSPECT, SUSPECT),
        (Decision.REFUSE, REFUSE),
    )
    for code in codes
}
RAISED = {
    Decision.WAIT: DatabaseUnavailable,
    Decision.SCHEMA: DatabaseNotReady,
    Decision.HOLD: DatabaseUnavailable,
    Decision.SUSPECT: DatabaseUnavailable,
    Decision.REFUSE: RefusedByDatabase,
}


@pytest.mark.parametrize("sqlstate", sorted(ERRORS))
def test_every_error_that_psycopg_knows_is_decided_on_purpose(sqlstate: str) -> None:
    decision = EXPECTED.get(sqlstate) or EXPECTED[sqlstate[:2]]
    assert decide(sqlstate) is decision
    error = translate(ERRORS[sqlstate]("what happened"))
    assert (type(error), error.sqlstate) == (RAISED[decision], sqlstate)


def test_there_are_as_many_errors_as_were_decided_on() -> None:
    assert {sqlstate[:2] for sqlstate in ERRORS} == set(CLASSES)
    assert set(CODES) <= set(ERRORS)


def test_the_docs_tell_the_table() -> None:
    rows = re.findall(r"^\| `(\w+)`.*\| (\w+) \|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert dict(rows) == {code: decision.value for code, decision in (CLASSES | CODES).items()}


def test_a_code_of_the_users_own_is_a_refusal() -> None:
    assert decide("ZZ001") is Decision.REFUSE


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
        "postgresql://127.0.0.1:port/cdr",
    ],
)
def test_a_database_that_cannot_be_reached_is_waited_for(url: str) -> None:
    # An address that is wrong is no fault of the CDR that happens to be next.
    with pytest.raises(DatabaseUnavailable), Database(url, "test").transaction():
        pass


def test_an_address_that_cannot_be_read_is_a_wrong_setting_and_is_not_repeated() -> None:
    address = "postgresql://127.0.0.1/cdr?no_such_option=of-a-secret"
    with pytest.raises(ConfigurationError, match=r"^CDR_DATABASE_URL: [^?]*$"), Database(address, "test").transaction():
        pass
