"""Every command with `--account` refuses one of which nothing is known, and takes each of which something is."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Product, product
from loading import Loader, delivery, leg
from typer.main import get_command

from cdr import known_accounts
from cdr.main import app

__all__ = ["product"]

COMMANDS = [
    "clock recompute",
    "clock report",
    "extensions backfill",
    "extensions export",
    "extensions list",
    "quarantine discard",
    "quarantine list",
    "quarantine replay",
    "recordings list",
    "recordings path --call-id c-1",
    "recordings retry",
    "recordings verify",
]
# The one that makes an account known.
MAKING = "extensions import"


@pytest.fixture
def known(product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Product:
    """Make an account known by a CDR, one by its settings, one by an extension, one by its secret."""
    monkeypatch.setenv("CDR_RECORDINGS_URL", (tmp_path / "store").as_uri())
    monkeypatch.setenv("CDR_RECEIVER_SECRETS", "secret:0123456789abcdef0123456789abcdef")
    loader = Loader(product.database_url)
    loader.load([delivery(leg("c-1"), account="called")])
    loader.database.close()
    product.run("INSERT INTO cdr.accounts (account) VALUES ('set')")
    product.run("INSERT INTO cdr.extensions VALUES ('named', 'a1', 'One', 'import')")
    return product


@pytest.mark.parametrize("command", COMMANDS)
def test_an_account_of_which_nothing_is_known_is_wrong_usage(known: Product, command: str) -> None:
    told = "cdr: nothing is known of an account 'cale': there are called, named, secret, set\n"
    assert known.cdr(*command.split(), "--account", "cale") == (2, "", told)
    assert known.count("cdr.audit") == 0


@pytest.mark.parametrize("account", ["called", "named", "secret", "set", "default"])
def test_an_account_of_which_something_is_known_is_taken(known: Product, account: str) -> None:
    done = known.cdr("extensions", "list", "--account", account, "--json")
    assert (done.exit_code, done.err, len(done.json)) == (0, "", account == "named")


@pytest.mark.parametrize("newest", [0, 10_000])
def test_an_account_whose_cdrs_are_not_among_the_newest_is_found(
    known: Product, monkeypatch: pytest.MonkeyPatch, newest: int
) -> None:
    monkeypatch.setattr(known_accounts, "_NEWEST", newest)
    assert report_on(known, "called") == 1
    assert ("called" in known.cdr("clock", "report", "--account", "cale").err) is (newest > 0)


def report_on(product: Product, account: str) -> int:
    return len(product.cdr("clock", "report", "--account", account, "--json").json["rules"])


def test_many_accounts_are_counted_and_none_is_said(product: Product) -> None:
    told = "cdr: nothing is known of an account 'cale'"
    assert product.cdr("extensions", "list", "--account", "cale").err == f"{told}: there is none yet\n"
    product.run("INSERT INTO cdr.accounts (account) SELECT 'account' || n FROM generate_series(1, 11) AS n")
    assert product.cdr("extensions", "list", "--account", "cale").err == f"{told}, but of 11 others\n"


def test_secrets_that_only_the_receiver_can_use_are_no_hindrance(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDR_RECEIVER_SECRETS", "nonsense")
    product.run("INSERT INTO cdr.accounts (account) VALUES ('set')")
    assert product.cdr("extensions", "list", "--account", "cale").err.endswith("'cale': there is set\n")


def test_objects_of_an_account_whose_rows_are_lost_are_verified(known: Product, tmp_path: Path) -> None:
    folder = tmp_path / "store/gone/2026/09/21"
    folder.mkdir(parents=True)
    assert known.cdr("recordings", "verify", "--account", "gone") == (0, "0 rows and 0 objects compared\n", "")


def test_every_command_with_an_account_was_tried() -> None:
    groups = get_command(app).commands.items()  # type: ignore[attr-defined]
    found = {
        f"{group_name} {name}"
        for group_name, group in groups
        for name, command in getattr(group, "commands", {}).items()
        if any("--account" in option.opts for option in command.params)
    }
    assert {" ".join(command.split()[:2]) for command in COMMANDS} == found - {MAKING}
