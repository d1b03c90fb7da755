"""Imports, exports and lists the extension directory for the commands `cdr extensions`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass
from itertools import islice
from pathlib import Path

from cdr.audit import audited
from cdr.database import opened_database
from cdr.extensions.file import COLUMNS, Extension, read_extensions
from cdr.known_accounts import require_account
from cdr.options import failed, wrong_usage
from cdr.printing import counted, print_csv, print_line, print_list, print_warning
from common.environment import load
from common.errors import Unreadable
from common.postgres import statement
from common.settings import AccountDefaults, is_account

_BATCH_ROWS = 5_000


@dataclass(frozen=True)
class KnownExtension:
    """One row of `cdr.extensions`.

    `valid_from` is a day in the account's zone, or the time of the call from which the name was learned; None for always.
    """

    account: str
    extension_code: str
    extension_name: str
    source: str
    valid_from: str | None


def run_import(file: Path, account: str, *, dry_run: bool) -> int:
    """Import the good lines of a file, in one transaction, and name the bad ones; exit code 1 if there are any."""
    if not is_account(account):
        wrong_usage(f"--account: {account!r} is no name of an account")
    try:
        extensions, bad, unused = read_extensions(file.read_bytes(), account)
    except OSError as error:
        failed(f"{file}: {error.strerror or error}")
    except Unreadable as error:
        failed(f"{file}: {error}")
    if not dry_run:
        _write(extensions, file)
    if unused:
        print_warning(f"{file}: not used: {counted(len(unused), 'column')} named {', '.join(unused)}")
    for line, problem in bad:
        print_warning(f"{file}:{line}: {problem}")
    done = "would be imported" if dry_run else "imported"
    print_line(f"{counted(len(extensions), 'extension')} {done}, {counted(len(bad), 'line')} left out")
    return 1 if bad else 0


def _write(extensions: list[Extension], file: Path) -> None:
    with audited("extensions import", {"file": str(file)}) as tell, opened_database("extensions") as database:
        # The order is that of the unique key, so that two imports wait for each other in one direction.
        ordered = iter(sorted(extensions, key=lambda each: (each.account, each.extension_code, str(each.valid_from))))
        zone = load(AccountDefaults).time_zone
        with database.transaction() as cursor:
            while batch := list(islice(ordered, _BATCH_ROWS)):
                names = zip(*(astuple(extension) for extension in batch), strict=True)
                values = dict(zip(("accounts", "codes", "names", "days"), map(list, names), strict=True))
                cursor.execute(statement("cdr", "import_extensions"), {**values, "time_zone": zone})
        tell(len(extensions))


def run_export(account: str | None) -> None:
    """Write the imported extensions as CSV, such that importing it again changes nothing."""
    print_csv([COLUMNS, *_imported(account)])


def _imported(account: str | None) -> Iterator[tuple[str, ...]]:
    for known in _read(account):
        if known.source == "import":
            yield known.account, known.extension_code, known.extension_name, known.valid_from or ""


def run_list(account: str | None, *, as_json: bool, limit: int | None) -> None:
    """Print the directory, learned names too."""
    columns = ("account", "code", "name", "source", "valid from")
    print_list(_read(account), columns, lambda known: asdict(known).values(), as_json=as_json, limit=limit)


def _read(account: str | None) -> list[KnownExtension]:
    values = {"account": account, "time_zone": load(AccountDefaults).time_zone}
    with opened_database("extensions") as database:
        require_account(database, account)
        with database.transaction() as cursor:
            return [KnownExtension(*row) for row in cursor.execute(statement("cdr", "list_extensions"), values)]
