"""What holds for an account: its row in `cdr.accounts`, and the environment's defaults where that says nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common.postgres import Database, statement
from common.settings import AccountDefaults

REFRESH_SECONDS = 2.0


@dataclass(frozen=True)
class Account:
    """The settings of one account; the names are those of `cdr.accounts`."""

    time_zone: str
    time_rule: str
    time_fallback: str
    default_region: str
    duration_includes_wait: bool


class Accounts:
    """All accounts, read from the database now and again."""

    def __init__(self, defaults: AccountDefaults) -> None:
        self._default = Account(
            defaults.time_zone,
            defaults.time_rule,
            defaults.time_fallback,
            defaults.default_region,
            defaults.duration_includes_wait,
        )
        self._accounts: dict[str, Account] = {}
        self._read_at = float("-inf")

    def refresh(self, database: Database) -> None:
        """Read the table again when it was read a while ago."""
        if time.monotonic() - self._read_at < REFRESH_SECONDS:
            return
        with database.transaction() as cursor:
            rows = cursor.execute(statement("worker", "read_accounts")).fetchall()
        self._accounts = {row[0]: self._merge(row[1:]) for row in rows}
        self._read_at = time.monotonic()

    def of(self, account: str) -> Account:
        """Return what holds for an account."""
        return self._accounts.get(account, self._default)

    @property
    def default(self) -> Account:
        """What holds for an account without a row."""
        return self._default

    @property
    def own(self) -> Mapping[str, Account]:
        """What holds for each account with a row."""
        return self._accounts

    def _merge(self, columns: tuple[Any, ...]) -> Account:
        default = self._default
        zone, rule, fallback, region, includes_wait = columns
        return Account(
            zone or default.time_zone,
            rule or default.time_rule,
            fallback or default.time_fallback,
            region or default.default_region,
            default.duration_includes_wait if includes_wait is None else includes_wait,
        )
