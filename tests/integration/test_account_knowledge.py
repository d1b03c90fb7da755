"""What holds for an account comes from the database, and from the environment where that says nothing."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from loading import TIME, Loader, delivery, execute, leg, select

from common.delivery import QuarantinedBody
from common.settings import AccountDefaults
from worker import accounts, extension_directory
from worker.accounts import Account
from worker.kept_bodies import mark
from worker.quarantine import keep


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (accounts, extension_directory):
        monkeypatch.setattr(module, "REFRESH_SECONDS", 0)


def refresh(loader: Loader) -> None:
    loader.knowledge.accounts.refresh(loader.database)
    loader.knowledge.directory.refresh(loader.database)


DEFAULTS = AccountDefaults()
DEFAULT = Account(
    DEFAULTS.time_zone,
    DEFAULTS.time_rule,
    DEFAULTS.time_fallback,
    DEFAULTS.default_region,
    DEFAULTS.duration_includes_wait,
)


def test_an_account_without_a_row_has_the_defaults(loader: Loader) -> None:
    refresh(loader)
    assert loader.knowledge.accounts.of("acme") == DEFAULT


def test_a_row_that_says_nothing_leaves_the_defaults(loader: Loader, database_url: str) -> None:
    execute(database_url, "INSERT INTO cdr.accounts (account) VALUES ('acme')")
    refresh(loader)
    assert loader.knowledge.accounts.of("acme") == DEFAULT


def test_a_row_overrules_the_defaults(loader: Loader, database_url: str) -> None:
    execute(
        database_url,
        "INSERT INTO cdr.accounts (account, time_zone, time_rule, time_fallback, default_region, duration_includes_wait)"
        " VALUES ('acme', 'Europe/Berlin', 'utc', 'utc', 'DE', true)",
    )
    refresh(loader)
    assert loader.knowledge.accounts.of("acme") == Account("Europe/Berlin", "utc", "utc", "DE", True)


def test_a_row_that_says_false_overrules_a_default_of_true(loader: Loader, database_url: str) -> None:
    execute(database_url, "INSERT INTO cdr.accounts (account, duration_includes_wait) VALUES ('acme', false)")
    others = accounts.Accounts(AccountDefaults(duration_includes_wait=True))
    others.refresh(loader.database)
    assert (others.of("acme").duration_includes_wait, others.of("other").duration_includes_wait) == (False, True)


def test_what_changed_is_read_again_after_a_while(loader: Loader, database_url: str, at_once: None) -> None:
    refresh(loader)
    execute(database_url, "INSERT INTO cdr.accounts (account, time_rule) VALUES ('acme', 'utc')")
    refresh(loader)
    assert loader.knowledge.accounts.of("acme").time_rule == "utc"


def test_it_is_not_read_for_every_job(loader: Loader, database_url: str) -> None:
    refresh(loader)
    execute(database_url, "INSERT INTO cdr.accounts (account, time_rule) VALUES ('acme', 'utc')")
    execute(database_url, "INSERT INTO cdr.extensions VALUES ('acme', 'AAAA', 'Dana', 'import')")
    refresh(loader)
    loader.load_fields(leg("c", callerextension="AAAA"))
    assert loader.knowledge.accounts.of("acme").time_rule == "auto"
    assert names(database_url) == [(None, None)]


def add_name(url: str, name: str, source: str, valid_from: str) -> None:
    execute(url, "INSERT INTO cdr.extensions VALUES ('acme', 'AAAA', %s, %s, %s)", name, source, valid_from)


def names(url: str) -> list[tuple[Any, ...]]:
    columns = "caller_extension_name, answering_extension_name"
    return [tuple(row.values()) for row in select(url, f"SELECT {columns} FROM cdr.cdrs ORDER BY call_id")]


def test_a_code_gets_its_name(loader: Loader, database_url: str) -> None:
    add_name(database_url, "Dana", "import", "-infinity")
    refresh(loader)
    loader.load_fields(leg("c", callerextension="AAAA"), leg("d", targetextension="AAAA"), leg("e"))
    assert names(database_url) == [("Dana", None), (None, "Dana"), (None, None)]


def test_the_name_that_the_cdr_carries_wins(loader: Loader, database_url: str) -> None:
    add_name(database_url, "Dana", "import", "-infinity")
    refresh(loader)
    both = {"callerextension": "AAAA", "callerextension_name": "Noa"}
    loader.load_fields(leg("c", **both, targetextension="AAAA", targetextension_name="Tal"))
    assert names(database_url) == [("Noa", "Tal")]


def test_the_name_of_another_account_is_not_taken(loader: Loader, database_url: str) -> None:
    add_name(database_url, "Dana", "import", "-infinity")
    refresh(loader)
    loader.load([delivery(leg("c", callerextension="AAAA"), account="other")])
    assert names(database_url) == [(None, None)]


def test_the_name_is_the_one_that_held_when_the_call_began(loader: Loader, database_url: str) -> None:
    add_name(database_url, "Dana", "import", "-infinity")
    add_name(database_url, "Noa", "import", "2026-09-21 12:00Z")
    refresh(loader)
    # 14:13 and 15:13 on the clock in Jerusalem, three hours ahead of UTC in September.
    loader.load_fields(leg("c", callerextension="AAAA"), leg("d", callerextension="AAAA", time=TIME + 3600))
    assert names(database_url) == [("Dana", None), ("Noa", None)]


def test_an_imported_name_wins_over_a_learned_one(loader: Loader, database_url: str) -> None:
    add_name(database_url, "Dana", "import", "2020-01-01Z")
    add_name(database_url, "Noa", "learned", "2026-01-01Z")
    refresh(loader)
    loader.load_fields(leg("c", callerextension="AAAA"))
    assert names(database_url) == [("Dana", None)]


def test_a_name_that_does_not_hold_yet_is_not_taken(loader: Loader, database_url: str) -> None:
    add_name(database_url, "Dana", "import", "2030-01-01Z")
    refresh(loader)
    loader.load_fields(leg("c", callerextension="AAAA"))
    assert names(database_url) == [(None, None)]


def body(received_at_us: int, **others: Any) -> QuarantinedBody:
    values = {"account": "acme", "format": "json", "reason": "unreadable", "error": "why", "headers": {"a": "b"}}
    return QuarantinedBody(received_at_us=received_at_us, **(values | {"body": b"\x00{"} | others))


def kept(url: str) -> list[dict[str, Any]]:
    return select(url, "SELECT * FROM cdr.quarantine ORDER BY quarantine_id")


def test_a_body_is_kept_as_it_came(loader: Loader, database_url: str) -> None:
    keep(loader.database, [body(1)])
    [row] = kept(database_url)
    assert (row["body"], row["headers"], row["status"], row["received_count"]) == (b"\x00{", {"a": "b"}, "kept", 1)


def test_the_same_body_again_counts_up(loader: Loader, database_url: str) -> None:
    keep(loader.database, [body(2_000_000), body(1_000_000)])
    keep(loader.database, [body(3_000_000)])
    [row] = kept(database_url)
    times = (row["received_at"].timestamp(), row["last_received_at"].timestamp())
    assert (row["received_count"], times) == (3, (1, 3))


def test_a_job_that_runs_twice_does_not_count_up(loader: Loader, database_url: str) -> None:
    for _ in range(2):
        keep(loader.database, [body(1_000_000)])
    assert kept(database_url)[0]["received_count"] == 1


def test_a_job_of_many_receipts_that_runs_twice_does_not_count_up(loader: Loader, database_url: str) -> None:
    receipts = [body(number * 1_000_000) for number in (3, 1, 4, 2)]
    for _ in range(2):
        keep(loader.database, receipts)
    assert kept(database_url)[0]["received_count"] == 4


@pytest.mark.parametrize("decision", ["replayed", "discarded"])
def test_a_job_that_runs_again_does_not_undo_what_a_person_decided(
    loader: Loader, database_url: str, decision: Literal["replayed", "discarded"]
) -> None:
    receipts = [body(number * 1_000_000) for number in (1, 2, 3)]
    keep(loader.database, receipts)
    mark(loader.database, [kept(database_url)[0]["quarantine_id"]], decision)
    keep(loader.database, receipts)
    assert kept(database_url)[0]["status"] == decision

    keep(loader.database, [body(4_000_000, reason="not_a_cdr", error="another")])
    [row] = kept(database_url)
    told = (row["status"], row["received_count"], row["reason"], row["error"])
    assert told == ("kept", 4, "not_a_cdr", "another")


def test_an_earlier_receipt_that_comes_late_counts_and_decides_nothing(loader: Loader, database_url: str) -> None:
    keep(loader.database, [body(2_000_000, error="the later")])
    mark(loader.database, [kept(database_url)[0]["quarantine_id"]], "discarded")
    keep(loader.database, [body(1_000_000, error="the earlier")])
    [row] = kept(database_url)
    assert (row["status"], row["received_count"], row["error"]) == ("discarded", 2, "the later")


def test_the_same_body_of_another_account_is_kept_too(loader: Loader, database_url: str) -> None:
    keep(loader.database, [body(1), body(1, account="other")])
    assert len(kept(database_url)) == 2


def test_text_that_no_database_takes_does_not_stop_the_keeping(loader: Loader, database_url: str) -> None:
    keep(loader.database, [body(1, error="a\0b \ud800", headers={"x": "a\0b"})])
    [row] = kept(database_url)
    assert (row["error"], row["headers"]) == ("ab \ufffd", {"x": "ab"})
