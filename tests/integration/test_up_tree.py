"""`cdr up` as its own process, with the real servers and a stand-in for the roles."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import redis

from cdr.data_folder import DataFolder

FAKE_CDR = str(Path(__file__).with_name("fake_cdr.py"))
UP = """
import sys
from pathlib import Path
from cdr.up import UpOptions, run_up
options = UpOptions(data=Path(sys.argv[1]), port=int(sys.argv[3]), receivers=2, demo=True)
sys.exit(run_up(options, (sys.executable, sys.argv[2])))
"""
SECONDS = 60.0


@pytest.fixture
def data(open_path: Path) -> Path:
    return open_path / "data with a space"


@contextmanager
def up(data: Path, port: int = 0, environment: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    given = {name: value for name, value in os.environ.items() if not name.startswith("CDR_")}
    process = subprocess.Popen(
        [sys.executable, "-c", UP, str(data), FAKE_CDR, str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**given, **(environment or {})},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=SECONDS)


def eventually(condition: Callable[[], object], seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def addresses(data: Path, process: subprocess.Popen[str]) -> dict[str, str]:
    folder = DataFolder(data)

    def is_ready() -> bool:
        assert process.poll() is None, process.communicate()
        return bool(folder.addresses())

    eventually(is_ready)
    return folder.addresses()


def children(parent: int) -> dict[int, str]:
    """Return the command lines of the direct children by pid, once all have one: a process has none while it execs."""
    while True:
        lines = subprocess.run(["/bin/ps", "-wweo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
        rows = [line.split(maxsplit=2) for line in lines.splitlines()[1:]]
        found = {int(pid): args for pid, ppid, args in rows if int(ppid) == parent}
        if not any(args.startswith("[") for args in found.values()):
            return found


def role_of(args: str) -> str:
    found = re.search(r"bin/postgres|valkey-server|(?<=fake_cdr\.py )(worker )?\w+", args)
    return found[0] if found else args


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie waits for whoever adopted it, and is no process any more.
    state = subprocess.run(["/bin/ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return state.stdout.strip() not in ("", "Z")


def test_everything_runs_and_ends_with_nothing_left(data: Path) -> None:
    with up(data) as process:
        urls = addresses(data, process)
        roles = children(process.pid)
        with psycopg.connect(urls["CDR_DATABASE_URL"]) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        with redis.Redis.from_url(urls["CDR_REDIS_URL"]) as connection_to_redis:
            assert connection_to_redis.ping()
        receiver = urlsplit(urls["CDR_RECEIVER_URL"])
        connection_to_receiver = http.client.HTTPConnection(str(receiver.hostname), receiver.port or 0, timeout=10)
        connection_to_receiver.request("GET", "/readyz")
        assert connection_to_receiver.getresponse().status == 200
        connection_to_receiver.close()

        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=SECONDS)

    assert (process.returncode, errors) == (0, "")
    assert f"\n  {urls['CDR_RECEIVER_URL']}\n" in output
    assert output.endswith("Stopped\n")
    assert sorted(role_of(args) for args in roles.values()) == [
        "bin/postgres",
        "receiver",
        "receiver",
        "scheduler",
        "simulate",
        "valkey-server",
        "worker cdrs",
        "worker hooks",
        "worker recordings",
    ]
    assert [pid for pid in roles if exists(pid)] == []
    assert DataFolder(data).addresses() == {}


def test_no_command_line_shows_a_secret(data: Path) -> None:
    with up(data) as process:
        addresses(data, process)
        secrets = DataFolder(data).secrets()
        lines = "\n".join(children(process.pid).values())

    for secret in (secrets.postgres, secrets.valkey, secrets.receiver):
        assert secret not in lines


def test_the_address_survives_a_restart(data: Path) -> None:
    with up(data) as process:
        first = addresses(data, process)
    with up(data) as process:
        assert addresses(data, process) == first


def test_a_second_start_on_the_same_folder_is_refused(data: Path) -> None:
    with up(data) as process:
        addresses(data, process)
        with up(data) as second:
            _, errors = second.communicate(timeout=SECONDS)

        assert second.returncode == 1
        assert errors == f"cdr up: another `cdr up` is running on {data}\n"
        assert process.poll() is None


def test_when_it_is_killed_its_children_end_and_it_can_be_started_again_at_once(data: Path) -> None:
    with up(data) as process:
        first = addresses(data, process)
        orphans = children(process.pid)
        process.kill()
        process.wait(SECONDS)
        with up(data) as again:
            assert addresses(data, again)["CDR_RECEIVER_URL"] == first["CDR_RECEIVER_URL"]
            eventually(lambda: not any(exists(pid) for pid in orphans), seconds=10)


@pytest.mark.parametrize("name", ["worker cdrs", "bin/postgres", "valkey-server"])
def test_a_child_that_is_killed_is_started_again(data: Path, name: str) -> None:
    def running() -> list[int]:
        # Before a child has become its program the launcher's own command line shows.
        return [pid for pid, args in children(process.pid).items() if name in args and "launch.py" not in args]

    with up(data) as process:
        addresses(data, process)
        eventually(running)
        (victim,) = running()
        os.kill(victim, signal.SIGKILL)

        eventually(lambda: running() not in ([], [victim]))


def test_a_role_that_cannot_start_ends_it_all_with_its_reason(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = UP.replace("from cdr.up ", "from cdr import process_tree\nprocess_tree.MIGRATE_SECONDS = 0.1\nfrom cdr.up ")
    monkeypatch.setattr(sys.modules[__name__], "UP", quick)

    with up(data, environment={"FAKE_FAILING_ROLE": "migrate"}) as process:
        _, errors = process.communicate(timeout=SECONDS)

    assert process.returncode == 1
    assert errors.startswith("cdr up: migrate ended with exit code 1: migrate has a wrong setting (its log is ")


def test_servers_of_ones_own_are_used(data: Path, redis_url: str, empty_database_url: str) -> None:
    own = {"CDR_DATABASE_URL": empty_database_url, "CDR_REDIS_URL": redis_url}
    with up(data, environment=own) as process:
        urls = addresses(data, process)
        lines = "\n".join(children(process.pid).values())

    assert own.items() <= urls.items()
    assert "valkey-server" not in lines
    assert "bin/postgres" not in lines


def test_a_port_that_another_program_has_is_refused(data: Path, valkey_server: object) -> None:
    port = valkey_server.port  # type: ignore[attr-defined]
    with up(data, port=port) as process:
        _, errors = process.communicate(timeout=SECONDS)

    assert process.returncode == 1
    assert (
        errors
        == f"cdr up: cannot listen on 127.0.0.1 port {port}: Address already in use (--port 0 takes a free one and keeps it)\n"
    )


def test_a_start_can_be_stopped_before_it_is_ready(data: Path) -> None:
    with up(data) as process:
        eventually(lambda: (data / "postgres").exists() and any(children(process.pid)))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=SECONDS)

    assert process.returncode == 0
