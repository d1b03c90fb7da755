"""Runs the whole product from one command: servers, migrations and roles in one supervised tree."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress

from cdr.data_folder import DataFolder
from cdr.ports import LOOPBACK, kept_port, required_port
from cdr.process_tree import CDR_COMMAND, ProcessTree
from cdr.supervisor import Supervisor
from cdr.up_options import GivenSettings, UpOptions
from common.ack_gate import MEANING
from common.environment import load, settings_here
from common.errors import ConfigurationError
from common.settings import AccountDefaults, HookSettings, LogSettings, is_loopback

__all__ = ["UpOptions", "run_up"]

# Told at once when wrong, and not by children that start again and again.
SETTINGS_OF_CHILDREN = (AccountDefaults, HookSettings, LogSettings)
EXAMPLE = (
    '{"ivruniqueid": "try-1", "type": "Incoming Call", "status": "ANSWER", "caller": "0722776772", "duration": 33}'
)


def run_up(options: UpOptions, command: Sequence[str] = CDR_COMMAND) -> int:
    """Run everything until SIGINT, SIGTERM or SIGHUP; return 0 after a clean stop, 1 when it could not start.

    `command` is the command line before the name of a role. Call it from the main thread.
    """
    folder = DataFolder(options.data)
    try:
        given = load(GivenSettings)
        for group in SETTINGS_OF_CHILDREN:
            load(group)
        with folder.held():
            secrets = folder.secrets()
            given = given.without_addresses_of(secrets.postgres, secrets.valkey)
            tree = ProcessTree(options, given, folder, secrets, _ports(folder, options), command)
            _say(f"Starting in {folder.root}")
            for setting in given.servers():
                _say(f"Using the server of {setting}, which is set in the environment")
            _supervise(tree)
    except (ConfigurationError, OSError) as error:
        sys.stderr.write(f"cdr up: {error}\n")
        return 1
    _say("Stopped")
    return 0


def _supervise(tree: ProcessTree) -> None:
    def on_ready() -> None:
        tree.folder.show_addresses(tree.addresses())
        _say(_welcome(tree))

    # The children get these and what is in our environment besides.
    tree.folder.show_settings({**settings_here(), **tree.environment()})
    try:
        Supervisor(tree.stages(), tree.folder.logs, _say).run(on_ready)
    finally:
        tree.folder.forget_addresses()


def _ports(folder: DataFolder, options: UpOptions) -> dict[str, int]:
    """Return the ports by name; those of the last start as far as they are free."""
    known = folder.ports()
    hosts = {"receiver": options.host, "postgres": LOOPBACK, "valkey": LOOPBACK}
    ports: dict[str, int] = {}
    if options.port:
        ports["receiver"] = required_port(options.host, options.port)
    for name, host in hosts.items():
        if name not in ports:
            ports[name] = kept_port(host, known.get(name), taken={*known.values(), *ports.values()})
    folder.keep_ports(ports)
    return ports


def _welcome(tree: ProcessTree) -> str:
    lines = [
        "",
        "Ready. The address to give to the provider:",
        f"  {tree.public_url}",
        "Try it:",
        f"  curl -sS '{tree.receiver_url}' --data '{EXAMPLE}'",
        f"Acknowledged means: {MEANING[tree.given.ack_level]}",
        f"Data is in {tree.folder.root}, logs in {tree.folder.logs}",
        "Stop with Ctrl-C",
    ]
    if is_loopback(tree.options.host) and not tree.given.public_url:
        lines.insert(3, "  (this machine only: put HTTPS in front, and name its address in CDR_PUBLIC_URL)")
    return "\n".join(lines)


def _say(line: str) -> None:
    # A terminal that has gone must not end what runs.
    with suppress(OSError):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
