"""The running product under test: `cdr up` between proxies, on servers that the test may kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis

from cdr.embedded_postgres import EmbeddedPostgres
from cdr.embedded_valkey import EmbeddedValkey
from cdr.launch import launched
from cdr.ports import free_port
from cdr.simulate.recordings import serve_recordings
from oracle import processes
from oracle.full_disk import SpoolDisk, spool_disk
from oracle.servers import Server
from oracle.tcp_proxy import HOST, PASS, ProxyLoop, TcpProxy, proxies
from oracle.traffic import ACCOUNTS

WORKERS = RECEIVERS = 2
START_SECONDS = 120.0
STOP_SECONDS = 60.0
PASSWORD = "only-for-tests"
SECRETS = {account: f"{account}-secret-of-the-oracle" for account in ACCOUNTS}
ROOT = Path(__file__).parents[3]


class Product:
    """`cdr up` with two receivers and two workers on `folder`. Used from the main thread: its children die with that.

    `database_url` and `redis_url` lead straight to the servers; the product itself is given those of the proxies.
    """

    def __init__(self, folder: Path, loop: ProxyLoop, spool: SpoolDisk, recordings_base: str) -> None:
        self.folder = folder
        self.spool = spool
        self.recordings_base = recordings_base
        self.postgres = Server(EmbeddedPostgres(folder / "postgres", free_port(), PASSWORD))
        self.redis = Server(EmbeddedValkey(folder / "valkey", free_port(), PASSWORD))
        self._receiver_port = free_port()
        self.proxies: dict[str, TcpProxy] = {
            "postgres": loop.proxy(free_port(), self.postgres.server.port, 1),
            "redis": loop.proxy(free_port(), self.redis.server.port, 2),
            "receiver": loop.proxy(free_port(), self._receiver_port, 3),
        }
        self._up: subprocess.Popen[bytes] | None = None
        self._stopped: set[int] = set()
        self.locks: list[psycopg.Connection[Any]] = []
        self.restarts = 0

    @property
    def database_url(self) -> str:
        """The address of the database itself."""
        return self.postgres.server.url()

    @property
    def redis_url(self) -> str:
        """The address of Redis itself."""
        return self.redis.server.url()

    @property
    def addresses(self) -> dict[str, str]:
        """Where to post, by account: through the proxy."""
        port = self.proxies["receiver"].port
        return {account: f"http://{HOST}:{port}/cdr/{secret}" for account, secret in SECRETS.items()}

    @property
    def logs(self) -> list[Path]:
        """The log files of everything that runs."""
        servers = [server.server.folder / "server.log" for server in (self.postgres, self.redis)]
        return [*sorted((self.folder / "data" / "logs").glob("*.log")), self.folder / "up.log", *servers]

    @property
    def recordings(self) -> Path:
        """The folder of the recording store."""
        return self.folder / "data" / "recordings"

    def start(self) -> None:
        """Start everything and return once it is ready."""
        self.postgres.start()
        self.redis.start()
        self.bring_back()
        self.wait_until_ready()

    def start_up(self) -> None:
        """Start `cdr up`, unless it runs."""
        if self._up is not None and self._up.poll() is None:
            return
        self.restarts += self._up is not None
        command = [sys.executable, "-P", "-m", "cdr", "up", "--data", str(self.folder / "data")]
        command += ["--port", str(self._receiver_port), "--workers", str(WORKERS), "--receivers", str(RECEIVERS)]
        with (self.folder / "up.log").open("ab") as log:
            self._up = subprocess.Popen(
                launched(command, on_parent_death=signal.SIGTERM), stdout=log, stderr=log, env=self._environment()
            )

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CDR_")}
        return kept | {
            "CDR_DATABASE_URL": _through(self.proxies["postgres"], self.database_url),
            "CDR_REDIS_URL": _through(self.proxies["redis"], self.redis_url),
            "CDR_RECEIVER_SECRETS": ",".join(f"{account}:{secret}" for account, secret in SECRETS.items()),
            "CDR_RECORDING_ALLOW_NETWORKS": "127.0.0.0/8",
            "CDR_SPOOL_DIR": str(self.spool.folder),
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        }

    def wait_until_ready(self) -> None:
        """Return once all roles run and a receiver says that it can store."""
        wait_for((self.folder / "data" / "running.json").exists, START_SECONDS, "cdr up is not ready")

    def pids(self, role: str) -> list[int]:
        """Return the processes of a role, as its command line names it, those that are frozen too."""
        return (
            []
            if self._up is None
            else [pid for pid in processes.children(self._up.pid) if processes.role_of(pid) == role]
        )

    def signal_role(self, role: str, number: signal.Signals, which: int) -> None:
        """Send a signal to one process of a role, the `which`-th of those that run."""
        pids = self.pids(role)
        if pids:
            processes.send(pids[which % len(pids)], number)

    def freeze_role(self, role: str, which: int) -> int | None:
        """Stop one process of a role until `thaw`; return its pid."""
        pids = [pid for pid in self.pids(role) if pid not in self._stopped]
        if not pids:
            return None
        pid = pids[which % len(pids)]
        self._stopped.add(pid)
        processes.send(pid, signal.SIGSTOP)
        return pid

    def thaw(self) -> None:
        """Let every process that was stopped go on."""
        while self._stopped:
            processes.send(self._stopped.pop(), signal.SIGCONT)

    def kill_up(self) -> None:
        """Kill `cdr up` itself; its children notice and end."""
        if self._up is not None:
            self._up.kill()
            self._up.wait()

    def terminate_up(self) -> None:
        """Ask `cdr up` to end in good order."""
        if self._up is not None:
            self._up.terminate()

    def kill_tree(self) -> None:
        """Kill `cdr up` and all its children at once, as a power cut does."""
        if self._up is not None:
            for pid in (self._up.pid, *processes.descendants(self._up.pid)):
                processes.send(pid, signal.SIGKILL)
            self._up.wait()

    def bring_back(self) -> None:
        """End every fault: all runs, nothing is frozen, full or misconfigured, and the proxies pass everything."""
        self.thaw()
        self.unlock()
        self.spool.empty()
        for proxy in self.proxies.values():
            proxy.behave(PASS)
        for server in (self.postgres, self.redis):
            server.bring_back()
        self.restore_settings()
        self.start_up()

    def connect(self, *, autocommit: bool = False) -> psycopg.Connection[Any]:
        """Open a connection to PostgreSQL itself, on which nothing waits for long; raises psycopg's errors."""
        return psycopg.connect(
            self.database_url, autocommit=autocommit, connect_timeout=2, options="-c statement_timeout=500ms"
        )

    def unlock(self) -> None:
        """Give up the locks on tables that are held."""
        while self.locks:
            with suppress(psycopg.Error):
                self.locks.pop().close()

    def restore_settings(self) -> None:
        """Give both servers the settings again with which they were started."""
        with redis.Redis.from_url(self.redis_url) as client:
            client.replicaof("NO", "ONE")
            client.config_set("maxmemory", 0)
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("appendonly", "yes")
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            (read_only,) = connection.execute("SHOW default_transaction_read_only").fetchone() or ("",)
            if read_only == "on":
                connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
                connection.execute("SELECT pg_reload_conf()")

    def stop(self) -> None:
        """Stop everything in good order."""
        self.thaw()
        if self._up is not None:
            self._up.terminate()
            self._up.wait(STOP_SECONDS)
        self.redis.stop()
        self.postgres.stop()


@contextmanager
def fresh_product() -> Iterator[Product]:
    """Run the product in a folder of its own for the length of a with-block."""
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="cdr-oracle-", ignore_cleanup_errors=True))
        folder = Path(name)
        # PostgreSQL runs as another user where we are root.
        folder.chmod(0o711)
        product = Product(
            folder,
            stack.enter_context(proxies()),
            stack.enter_context(spool_disk(folder / "spool")),
            stack.enter_context(serve_recordings()).base,
        )
        stack.callback(product.stop)
        product.start()
        yield product


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> None:
    """Return once a condition is true; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} after {seconds:g} s"
        time.sleep(0.05)


def _through(proxy: TcpProxy, url: str) -> str:
    """Lead an address through a proxy."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{proxy.port}")))
