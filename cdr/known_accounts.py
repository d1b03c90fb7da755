"""Refuses an account of which nothing is known, so that a slip of the finger does not look like an empty list."""

from __future__ import annotations

from cdr.options import wrong_usage
from common.environment import load
from common.errors import ConfigurationError
from common.postgres import Database, Limits, statement
from common.settings import DEFAULT_ACCOUNT, ReceiverSettings

_MOST_NAMED = 10
_NEWEST = 10_000
# Only for an account that is in no short list all rows are looked through, and whoever waits can interrupt.
_PATIENT = Limits(statement_seconds=0, lock_seconds=10)


def require_account(database: Database, account: str | None) -> None:
    """End the command with exit code 2 when nothing is known of the account that was given; None is any account.

    Known is what has settings, extensions, CDRs, bodies in quarantine, or a secret in this environment. Raises
    DatabaseUnavailable, DatabaseNotReady.
    """
    if account is None or account == DEFAULT_ACCOUNT:
        return
    values = {"account": account, "newest": _NEWEST}
    with database.transaction(_PATIENT) as cursor:
        known = {row[0] for row in cursor.execute(statement("cdr", "known_accounts"), values)} | _with_a_secret()
        if account in known:
            return
        row = cursor.execute(statement("cdr", "has_account"), values).fetchone()
    if row is None or not row[0]:
        wrong_usage(f"nothing is known of an account {account!r}{_others(known)}")


def _with_a_secret() -> set[str]:
    try:
        return {account for account, _ in load(ReceiverSettings).receiver_secrets}
    except ConfigurationError:
        # They are the receiver's: what is wrong with them, it tells.
        return set()


def _others(known: set[str]) -> str:
    if not known:
        return ": there is none yet"
    if len(known) > _MOST_NAMED:
        return f", but of {len(known)} others"
    return f": there {'is' if len(known) == 1 else 'are'} {', '.join(sorted(known))}"
