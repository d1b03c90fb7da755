"""The commands `cdr extensions`, with their options; cdr/extensions/directory.py does the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cdr.options import DryRun, Everything, Json, Since, Until, require_choice
from common.settings import DEFAULT_ACCOUNT

app = typer.Typer(no_args_is_help=True, help="The extension directory: names by extension code.")

FirstRows = Annotated[int | None, typer.Option("--limit", min=0, help="at most so many, by account and code")]
OneAccount = Annotated[str | None, typer.Option("--account", help="only of this account")]


@app.command("import")
def import_file(
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV with the columns extension_code and extension_name, and if need be account and valid_from"
        ),
    ],
    account: Annotated[str, typer.Option(help="of lines that name none")] = DEFAULT_ACCOUNT,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only name the bad lines, import nothing")] = False,
) -> None:
    """Import names from a CSV file of a spreadsheet; bad lines are named, the good ones imported.

    A name takes the place of the one that was imported for the same code and day.
    """
    from cdr.extensions.directory import run_import

    raise typer.Exit(run_import(file, account, dry_run=dry_run))


@app.command("export")
def export_file(account: OneAccount = None) -> None:
    """Print the imported names as CSV, in UTF-8."""
    from cdr.extensions.directory import run_export

    run_export(account)


@app.command("list")
def list_extensions(*, account: OneAccount = None, limit: FirstRows = None, as_json: Json = False) -> None:
    """List the directory by account and code: each name with its source, and since when it holds."""
    from cdr.extensions.directory import run_list

    run_list(account, as_json=as_json, limit=limit)


@app.command()
def backfill(
    *,
    account: OneAccount = None,
    since: Since = None,
    until: Until = None,
    everything: Everything = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Fill in names that have become known since in CDRs that were loaded without, and print how many.

    The times are those of the calls. It may be interrupted and run again, beside workers and beside another one.
    """
    require_choice(filtered=any((account, since, until)), everything=everything)
    from cdr.extensions.backfill import Selection, run_backfill

    raise typer.Exit(run_backfill(Selection(account, since, until), dry_run=dry_run, as_json=as_json))
