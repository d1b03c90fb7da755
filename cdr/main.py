"""The `cdr` command: every subcommand, its options, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from cdr import accounts, failed, quarantine
from cdr.clock import command as clock
from cdr.extensions import command as extensions
from cdr.options import Json
from cdr.printing import print_line, print_warning
from cdr.recordings import command as recordings
from cdr.show_env import way_to_settings
from common.errors import CdrError, ConfigurationError
from common.job_queue import QUEUES
from common.log_setup import set_up_logging

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(failed.app, name="failed")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(recordings.app, name="recordings")
app.add_typer(extensions.app, name="extensions")
app.add_typer(accounts.app, name="accounts")
app.add_typer(clock.app, name="clock")


def _print_version(*, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version as version_of

        print_line(f"cdr-pipeline {version_of('cdr-pipeline')}")
        raise typer.Exit


@app.callback()
def cdr(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=lambda value: _print_version(wanted=value), is_eager=True, help="print the version"
        ),
    ] = False,
) -> None:
    """Receive Voicenter's call detail records, acknowledge them once they are on disk, and load them into PostgreSQL."""


@app.command()
def up(
    data: Annotated[Path, typer.Option(help="the folder that holds everything")] = Path("var"),
    host: Annotated[str, typer.Option(help="the receiver's address")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="the receiver's port; 0 for any free one, kept from then on")] = 8080,
    receivers: Annotated[int, typer.Option(min=1, help="receiver processes, on one port")] = 1,
    console_port: Annotated[int, typer.Option(hidden=True)] = 8081,
    workers: Annotated[int, typer.Option(min=1, help="processes that load CDRs")] = 1,
    recorders: Annotated[int, typer.Option(min=1, help="processes that fetch recordings")] = 1,
    demo: Annotated[bool, typer.Option("--demo", help="feed simulated calls")] = False,
) -> None:
    """Run everything in one supervised tree, with a PostgreSQL and a Valkey of its own."""
    from cdr.up import UpOptions, run_up

    raise typer.Exit(run_up(UpOptions(data, host, port, receivers, console_port, workers, recorders, demo)))


@app.command()
def env(data: Annotated[Path, typer.Option(help="the folder of the running cdr up")] = Path("var")) -> None:
    """Print the addresses of a running cdr up as NAME=value lines."""
    from cdr.show_env import show_env

    raise typer.Exit(show_env(data))


@app.command()
def receiver() -> None:
    """Receive CDRs over HTTP and acknowledge them once they are durable."""
    from cdr.processes import run_receiver

    raise typer.Exit(run_receiver())


@app.command()
def worker(queue: Annotated[str, typer.Argument(help=f"one of {', '.join(QUEUES)}")]) -> None:
    """Work on one queue: load CDRs, fetch recordings, or run your hooks."""
    from cdr.processes import run_worker

    if queue not in QUEUES:
        raise typer.BadParameter(f"{queue!r} is none of {', '.join(QUEUES)}")
    raise typer.Exit(run_worker(queue))


@app.command()
def scheduler() -> None:
    """Move due jobs, sweep up after dead workers, make partitions."""
    from cdr.processes import run_scheduler

    raise typer.Exit(run_scheduler())


@app.command()
def migrate(status: Annotated[bool, typer.Option("--status", help="only tell what is applied")] = False) -> None:
    """Bring the database's schema up to date."""
    from common.environment import load
    from common.settings import DatabaseSettings
    from migrations import apply

    url = load(DatabaseSettings).database_url.get_secret_value()
    if status:
        for name, applied in apply.status(url):
            print_line(f"{name}: {'applied' if applied else 'not applied'}")
        return
    names = apply.migrate(url)
    print_line(f"applied: {', '.join(names)}" if names else "up to date")


@app.command()
def status(
    *,
    data: Annotated[Path | None, typer.Option(help="tell of the cdr up that runs on this folder")] = None,
    as_json: Json = False,
) -> None:
    """Tell what waits, who works and what was loaded; exit 1 when a server does not answer."""
    from cdr.status import run_status

    raise typer.Exit(run_status(data, as_json=as_json))


@app.command()
def doctor(
    *,
    data: Annotated[Path | None, typer.Option(help="check the cdr up that runs on this folder")] = None,
    as_json: Json = False,
) -> None:
    """Check that the promises can hold here; exit 1 when one cannot."""
    from cdr.doctor.command import run_doctor

    raise typer.Exit(run_doctor(data, as_json=as_json))


@app.command()
def send(
    files: Annotated[list[Path], typer.Argument(help="CDR files, in any of the provider's formats")],
    url: Annotated[str | None, typer.Option(help="the receiver's address; CDR_RECEIVER_URL unless given")] = None,
    format: Annotated[  # noqa: A002 - the option's name
        Literal["json", "xmlrpc", "form"] | None, typer.Option(help="write the CDRs anew in this format")
    ] = None,
) -> None:
    """Post CDR files as the provider would, and print each answer."""
    from cdr.send import run_send

    raise typer.Exit(run_send(files, url, format))


@app.command()
def simulate(
    url: Annotated[str | None, typer.Option(help="the receiver's address; CDR_RECEIVER_URL unless given")] = None,
    rate: Annotated[float | None, typer.Option(help="CDRs a second; as fast as possible unless given")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="how many CDRs; without end unless given")] = None,
    format: Annotated[  # noqa: A002 - the option's name
        Literal["mixed", "json", "xmlrpc", "form"], typer.Option(help="in which of the provider's formats")
    ] = "mixed",
    seed: Annotated[int | None, typer.Option(help="repeats a run to the byte")] = None,
    acked: Annotated[Path | None, typer.Option(help="writes what was acknowledged to this file")] = None,
    connections: Annotated[int, typer.Option(help="posts at the same time")] = 16,
    serve_recordings: Annotated[
        bool, typer.Option("--serve-recordings", help="serve the recordings on a port of this machine")
    ] = False,
) -> None:
    """Send realistic traffic: every type and status, legs, retries, Hebrew names, recordings."""
    from cdr.simulate.run import SimulateOptions, run_simulation

    options = SimulateOptions(
        url=url,
        rate=rate,
        count=count,
        format=format,
        seed=seed,
        acked=acked,
        connections=connections,
        serve_recordings=serve_recordings,
    )
    raise typer.Exit(run_simulation(options))


def main() -> None:
    """Run the command line: exit 0 when done, 1 when it failed, 2 for wrong usage."""
    try:
        set_up_logging()
        app(prog_name="cdr")
    except ConfigurationError as error:
        print_warning(f"cdr: {error}")
        if "is required" in str(error):
            print_warning(f"Beside a running cdr up: {way_to_settings(str(error))}")
        sys.exit(2)
    except CdrError as error:
        print_warning(f"cdr: {error}")
        sys.exit(1)
