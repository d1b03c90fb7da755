"""Lists and changes the settings of accounts for the commands `cdr accounts`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from cdr.database import opened_database
from cdr.options import wrong_usage
from cdr.printing import print_list
from common.environment import problem_with
from common.postgres import statement
from common.settings import AccountDefaults, is_account
from worker.numbering_plans import is_known_region

_COLUMNS = ("account", "time zone", "time rule", "fallback", "region", "duration includes wait")


@dataclass(frozen=True)
class AccountSettings:
    """One row of `cdr.accounts`; None means the default of the environment."""

    account: str
    time_zone: str | None
    time_rule: str | None
    time_fallback: str | None
    default_region: str | None
    duration_includes_wait: bool | None


def run_list(*, as_json: bool) -> None:
    """Print every account that has settings of its own."""
    with opened_database("accounts") as database, database.transaction() as cursor:
        accounts = [AccountSettings(*row) for row in cursor.execute(statement("cdr", "list_accounts"))]
    _print(accounts, as_json=as_json)


def run_set(account: str, settings: Mapping[str, str | bool | None], clear: Sequence[str]) -> None:
    """Set what is not None, clear what is named, and print what the account has then."""
    cleared = [name.replace("-", "_") for name in clear]
    chosen = {name: value for name, value in settings.items() if value is not None}
    _check(account, chosen, cleared, set(settings))
    with opened_database("accounts") as database, database.transaction() as cursor:
        values = {**settings, "account": account, "cleared": cleared}
        cursor.execute(statement("cdr", "set_account"), values)
        accounts = [AccountSettings(*row) for row in cursor]
    _print(accounts, as_json=False)


def _check(account: str, chosen: Mapping[str, str | bool], cleared: list[str], known: set[str]) -> None:
    """End the command with exit code 2 for the first thing that is wrong."""
    if not is_account(account):
        wrong_usage(f"{account!r} is no name of an account: letters, digits, _ . and -, at most 64")
    if not chosen and not cleared:
        wrong_usage("nothing says what to set: give a setting, such as --time-zone, or --clear NAME")
    for name in cleared:
        if name not in known:
            wrong_usage(f"--clear: there is no setting {name!r}: it is one of {', '.join(sorted(known))}")
        if name in chosen:
            wrong_usage(f"{name} cannot be set and cleared at once")
    for name, value in chosen.items():
        problem = problem_with(AccountDefaults, name, value)
        if problem is None and name == "default_region" and not is_known_region(str(value)):
            problem = f"{value!r} is no region with a numbering plan"
        if problem is not None:
            wrong_usage(f"--{name.replace('_', '-')}: {problem}")


def _print(accounts: list[AccountSettings], *, as_json: bool) -> None:
    def row(account: AccountSettings) -> list[object]:
        return ["default" if value is None else value for value in asdict(account).values()]

    print_list(accounts, _COLUMNS, row, as_json=as_json)
