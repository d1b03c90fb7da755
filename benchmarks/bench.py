"""What every part is given: its servers, a folder, how many rounds, and where to tell what goes on."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import answers, children, finished, process, wait_until
from cdr.data_folder import DataFolder
from cdr.embedded_postgres import EmbeddedPostgres
from cdr.embedded_server import running
from cdr.embedded_valkey import EmbeddedValkey
from cdr.ports import LOOPBACK, free_port
from common.redis_client import RedisClient, connect

PASSWORD = "only-for-benchmarks"
SECRET = "a-secret-for-benchmarks"


@dataclass(frozen=True)
class Server:
    """A running server: its address, and its process, below which all its others are."""

    url: str
    pid: int


def is_at_work(redis: RedisClient, queue: str, pid: int) -> bool:
    """Tell whether a worker, ours or a stock one, waits for a job of its queue or has one."""
    workers = (redis.hmget(key, "pid", "state") for key in redis.smembers(f"rq:workers:{queue}"))
    return any(int(number) == pid and state in {b"idle", b"busy"} for number, state in workers if number)


@dataclass(frozen=True)
class Bench:
    """One run of the benchmark. `scale` multiplies the counts of CDRs and the seconds: 1 is what the goals are for."""

    folder: Path
    rounds: int
    scale: float = 1.0

    def tell(self, text: str) -> None:
        """Say what goes on, beside the tables."""
        print(text, file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def valkey(self, **settings: str) -> Iterator[Server]:
        """Run a Valkey as `cdr up` does, every write on disk before it is answered; a fresh one each time."""
        server = EmbeddedValkey(self.subfolder("valkey"), free_port(), PASSWORD, settings)
        others = children()
        with running(server) as url:
            (pid,) = children() - others
            yield Server(url, pid)

    @contextlib.contextmanager
    def postgres(self, kept: str | None = None, **settings: str) -> Iterator[Server]:
        """Run a PostgreSQL as `cdr up` does, with our tables; a fresh one each time, or the one that is `kept` by a name."""
        folder = self.folder / kept if kept else self.subfolder("postgres")
        folder.mkdir(mode=0o711, exist_ok=True)
        server = EmbeddedPostgres(folder, free_port(), PASSWORD, settings)
        others = children()
        with running(server) as url:
            (pid,) = children() - others
            finished(["cdr", "migrate"], {"CDR_DATABASE_URL": url}, self.folder / "migrate.log")
            yield Server(url, pid)

    @contextlib.contextmanager
    def receiver(self, valkey: Server, **env: str) -> Iterator[Server]:
        """Run our receiver, one process, which acknowledges what is on disk."""
        port = free_port()
        settings = {
            "CDR_REDIS_URL": valkey.url,
            "CDR_RECEIVER_SECRETS": f"default:{SECRET}",
            "CDR_HOST": LOOPBACK,
            "CDR_PORT": str(port),
            **env,
        }
        with process(["cdr", "receiver"], settings, self.folder / "receiver.log") as pid:
            wait_until(lambda: answers(f"http://{LOOPBACK}:{port}/readyz"), "the receiver's start")
            yield Server(f"http://{LOOPBACK}:{port}/cdr/{SECRET}", pid)

    @contextlib.contextmanager
    def rival(self, name: str, env: Mapping[str, str] | None = None) -> Iterator[Server]:
        """Run the application of `benchmarks/rivals/<name>.py` with uvicorn, one process."""
        port = free_port()
        command = ["uvicorn", f"benchmarks.rivals.{name}:app", "--port", str(port), "--no-access-log"]
        with process(command, env or {}, self.folder / f"{name}.log") as pid:
            url = f"http://{LOOPBACK}:{port}/cdr"
            wait_until(lambda: answers(url), f"the start of {name}")
            yield Server(url, pid)

    @contextlib.contextmanager
    def worker(self, valkey: Server, postgres: Server, queue: str = "cdrs", **env: str) -> Iterator[int]:
        """Run one of our workers, which is ready for its first job; a recorder has a folder to store in."""
        settings = {
            "CDR_REDIS_URL": valkey.url,
            "CDR_DATABASE_URL": postgres.url,
            "CDR_RECORDINGS_URL": (self.folder / "recordings").as_uri(),
            **env,
        }
        with (
            process(["cdr", "worker", queue], settings, self.folder / f"worker-{queue}.log") as pid,
            connect(valkey.url) as redis,
        ):
            wait_until(lambda: is_at_work(redis, queue, pid), "the worker's start")
            yield pid

    @contextlib.contextmanager
    def scheduler(self, valkey: Server, postgres: Server) -> Iterator[int]:
        """Run our scheduler, which finishes what workers leave."""
        settings = {"CDR_REDIS_URL": valkey.url, "CDR_DATABASE_URL": postgres.url}
        with process(["cdr", "scheduler"], settings, self.folder / "scheduler.log") as pid:
            yield pid

    @contextlib.contextmanager
    def everything(self) -> Iterator[tuple[dict[str, str], int]]:
        """Run `cdr up` with a data folder of its own; give what `cdr env` shows, and its process id."""
        data = DataFolder(self.subfolder("up"))
        with process(["cdr", "up", "--data", str(data.root), "--port", "0"], {}, self.folder / "up.log") as pid:
            wait_until(lambda: bool(data.addresses()), "the start of cdr up")
            yield data.addresses(), pid

    def subfolder(self, name: str) -> Path:
        """Return the path of a folder that does not exist yet."""
        number = sum(1 for _ in self.folder.glob(f"{name}-*"))
        path = self.folder / f"{name}-{number}"
        # PostgreSQL runs as another user where we are root.
        path.mkdir(mode=0o711)
        return path
