"""A PostgreSQL of a test's own: stopped, killed, filled up, made a standby, and hidden behind a network that fails."""

from __future__ import annotations

import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from free_ports import free_port

from cdr.embedded_postgres import EmbeddedPostgres
from migrations.apply import migrate

ROLE = "loader"
# What is written need not outlive the machine; a killed server finds it all the same.
SETTINGS = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "128MB"}


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Poll until something is true, and return it; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return value


class OwnPostgres:
    """A migrated server with a role `loader` that is no superuser; `loader_url` is what a worker is given."""

    def __init__(self, folder: Path) -> None:
        self._server = EmbeddedPostgres(folder / "postgres", free_port(), "only-for-tests", SETTINGS)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        migrate(self.url)
        self.run(
            f"CREATE ROLE {ROLE} LOGIN PASSWORD 'of-the-loader'",
            f"GRANT USAGE ON SCHEMA cdr TO {ROLE}",
            f"GRANT ALL ON ALL TABLES IN SCHEMA cdr TO {ROLE}",
            f"GRANT ALL ON ALL SEQUENCES IN SCHEMA cdr TO {ROLE}",
        )

    @property
    def url(self) -> str:
        return self._server.url()

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def cluster(self) -> Path:
        return self._server.cluster

    def loader_url(self, port: int | None = None) -> str:
        return f"postgresql://{ROLE}:of-the-loader@127.0.0.1:{port or self.port}/cdr"

    def begin_to_start(self, **settings: str) -> None:
        self._server.settings = {**SETTINGS, **settings}
        self._server.prepare()
        with (self._server.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(self._server.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def start(self, **settings: str) -> None:
        self.begin_to_start(**settings)
        self._server.wait_until_ready(60)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> None:
        assert self._process is not None
        self._process.wait(60)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        if self._process is not None and self._process.poll() is None:
            self.send(how)
            self.wait()

    @property
    def is_up(self) -> bool:
        return self._process is not None and self._process.poll() is None and self._server.is_ready()

    @property
    def has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def log(self) -> str:
        return (self._server.folder / "server.log").read_text(errors="replace")

    def run(self, *statements: str, database: str = "cdr") -> None:
        with psycopg.connect(self._server.url(database), autocommit=True) as connection:
            for each in statements:
                connection.execute(each.encode())

    def query(self, sql: str) -> list[Any]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(sql.encode()).fetchall()

    def empty(self) -> None:
        """Make the database as it was after the migrations."""
        tables = self.query(
            "SELECT format('cdr.%I', tablename) FROM pg_tables WHERE schemaname = 'cdr' AND tablename IN"
            " ('cdrs', 'deliveries', 'calls', 'call_links', 'outbox', 'recordings', 'quarantine')"
        )
        names = [name for (name,) in tables] + ["cdr.cdrs"]
        self.run(f"TRUNCATE {', '.join(dict.fromkeys(names))}")

    @contextmanager
    def limited_files(self, size_bytes: int) -> Iterator[None]:
        """Let no process of the server make a file larger than this: what it must extend fails, as on a full disk."""
        self._limit_files(size_bytes)
        yield
        self._limit_files(resource.RLIM_INFINITY)

    def _limit_files(self, size_bytes: int) -> None:
        assert self._process is not None
        for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
            if self._process.pid in {pid, parent_of(pid)}:
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))


def parent_of(pid: int) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("PPid:")), None)
