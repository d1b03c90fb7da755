"""The commands `cdr accounts`, with their options; cdr/account_settings.py does the work."""

from __future__ import annotations

from typing import Annotated

import typer

from cdr.options import Data, Json
from cdr.show_env import use_settings_of

app = typer.Typer(no_args_is_help=True, help="What is special to an account; the environment gives the defaults.")


@app.command("list")
def list_accounts(*, data: Data = None, as_json: Json = False) -> None:
    """List the accounts that have settings of their own."""
    from cdr.account_settings import run_list

    use_settings_of(data)
    run_list(as_json=as_json)


@app.command("set")
def set_account(
    account: str,
    *,
    time_zone: Annotated[str | None, typer.Option(help="such as Asia/Jerusalem")] = None,
    time_rule: Annotated[str | None, typer.Option(help="auto, local or utc")] = None,
    time_fallback: Annotated[str | None, typer.Option(help="local or utc, where auto finds nothing")] = None,
    default_region: Annotated[str | None, typer.Option(help="the country of short numbers, such as IL")] = None,
    duration_includes_wait: Annotated[bool | None, typer.Option(help="whether duration counts the wait")] = None,
    clear: Annotated[list[str] | None, typer.Option(help="a setting that goes back to its default")] = None,
    data: Data = None,
) -> None:
    """Change the settings of an account; what is not named stays as it is.

    Rows loaded already do not change; after a change of the clock `cdr clock recompute` reads theirs anew.
    """
    from cdr.account_settings import run_set

    settings = {
        "time_zone": time_zone,
        "time_rule": time_rule,
        "time_fallback": time_fallback,
        "default_region": default_region,
        "duration_includes_wait": duration_includes_wait,
    }
    use_settings_of(data)
    run_set(account, settings, clear or [])
