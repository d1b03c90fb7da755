"""One `docker compose` project of a test: its own name, image, port and secrets, and what a test asks of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from free_ports import free_port

ROOT = Path(__file__).parents[2]
BUILD_AND_START_SECONDS = 600
COMMAND_SECONDS = 240

# What tells one CDR from another, in the order in which `cdr simulate --acked` writes it.
_IDENTITIES = """
    SELECT call_id, call_type, time_raw, coalesce(caller_extension_code, ''), coalesce(answering_extension_code, '')
    FROM cdr.cdrs
"""


def environment(**changes: str) -> dict[str, str]:
    """Return this process's environment without its own settings, which compose would prefer to those of the file."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CDR_", "COMPOSE_"))}
    return kept | changes


class ComposeStack:
    def __init__(self, folder: Path) -> None:
        self.name = f"cdr-test-{uuid.uuid4().hex[:8]}"
        self._env_file = folder / ".env"
        self._port = free_port()
        self._image = f"{self.name}:test"
        printed = run([sys.executable, str(ROOT / "deploy" / "make_env.py"), str(self._env_file)])
        self.url = f"http://127.0.0.1:{self._port}{printed.split()[-1]}"

    def compose(self, *arguments: str, seconds: float = COMMAND_SECONDS) -> str:
        """Run `docker compose` on this project and return what it printed; fails with its errors."""
        command = ["docker", "compose", "--project-name", self.name, "--env-file", str(self._env_file), *arguments]
        return run(command, environment(CDR_PORT=str(self._port), CDR_IMAGE=self._image), seconds)

    def start(self, *options: str) -> None:
        self.compose("up", "--detach", "--wait", *options, seconds=BUILD_AND_START_SECONDS)

    def remove(self) -> None:
        try:
            self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")
        finally:
            run(["docker", "image", "rm", "--force", self._image])

    def containers(self, service: str) -> list[str]:
        return self.compose("ps", "--quiet", service).split()

    def inspect(self, container: str, template: str) -> str:
        return run(["docker", "inspect", "--format", template, container]).strip()

    def kill(self, container: str) -> None:
        run(["docker", "kill", "--signal", "KILL", container])

    def exec(self, service: str, *command: str) -> str:
        return self.compose("exec", "--no-TTY", service, *command)

    def query(self, sql: str) -> list[str]:
        command = ("psql", "--host=/var/run/postgresql", "--username=cdr", "--dbname=cdr", "--no-psqlrc")
        output = self.exec(
            "postgres", *command, "--tuples-only", "--no-align", "--field-separator=\t", f"--command={sql}"
        )
        return output.splitlines()

    def rows(self) -> Counter[str]:
        """Return how often each CDR is in the table, named as `cdr simulate --acked` names it."""
        return Counter(self.query(_IDENTITIES))

    def simulate(self, acked: Path, count: int) -> subprocess.Popen[str]:
        """Start `cdr simulate` at full speed, in all formats at once; the receiver is reached on the loopback."""
        command = [sys.executable, "-m", "cdr", "simulate", "--url", self.url, "--count", str(count)]
        return subprocess.Popen(
            [*command, "--acked", str(acked)],
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def logs(self) -> str:
        return self.compose("logs", "--no-color", "--timestamps", "--tail", "200")


def run(command: list[str], env: dict[str, str] | None = None, seconds: float = COMMAND_SECONDS) -> str:
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def wait_until(true: Callable[[], bool], what: str, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain until {what}"
        time.sleep(0.2)
