"""The commands `cdr extensions`, with their options; cdr/extension_directory.py does the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cdr.options import Json
from common.settings import DEFAULT_ACCOUNT

app = typer.Typer(no_args_is_help=True, help="The extension directory: names by extension code.")

OneAccount = Annotated[str | None, typer.Option("--account", help="only of this account")]


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="CSV: extension_code, extension_name, and account or valid_from")],
    account: Annotated[str, typer.Option(help="of lines that name none")] = DEFAULT_ACCOUNT,
) -> None:
    """Import names from a CSV file, in UTF-8 or windows-1255; bad lines are named, the good ones imported."""
    from cdr.extension_directory import run_import

    raise typer.Exit(run_import(file, account))


@app.command("export")
def export_file(account: OneAccount = None) -> None:
    """Print the imported names as CSV, in UTF-8."""
    from cdr.extension_directory import run_export

    run_export(account)


@app.command("list")
def list_extensions(*, account: OneAccount = None, as_json: Json = False) -> None:
    """List the directory."""
    from cdr.extension_directory import run_list

    run_list(account, as_json=as_json)
