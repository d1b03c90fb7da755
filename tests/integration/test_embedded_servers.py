"""The embedded servers for real: what they keep, where they listen, and what a crash may leave."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from free_ports import free_port
from redis.backoff import NoBackoff
from redis.retry import Retry

from cdr import embedded_postgres, embedded_valkey
from cdr.embedded_postgres import EmbeddedPostgres
from cdr.embedded_server import EmbeddedServer, package_folder, running
from cdr.embedded_valkey import EmbeddedValkey, memory_bound
from common.errors import ConfigurationError

# What a URL, a shell and a configuration file each treat as special.
AWKWARD = 'p@ss "w\\ord#/'
PREPARE = """
import sys
from pathlib import Path
from cdr.embedded_postgres import EmbeddedPostgres
EmbeddedPostgres(Path(sys.argv[1]), 1, "password").prepare()
"""


@pytest.fixture
def postgres(open_path: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(open_path / "a folder's name", free_port(), AWKWARD, {"fsync": "off"})


@pytest.fixture
def valkey(open_path: Path) -> EmbeddedValkey:
    return EmbeddedValkey(open_path / 'a "folder"', free_port(), AWKWARD)


def query(url: str, statement: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(statement.encode()).fetchone()
    return row[0] if row else None


def test_what_postgresql_has_committed_is_there_after_a_restart(postgres: EmbeddedPostgres) -> None:
    with running(postgres) as url, psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS value")
    with running(postgres) as url:
        assert query(url, "SELECT value FROM kept") == 7


def test_postgresql_is_set_up_as_the_product_needs_it(open_path: Path) -> None:
    server = EmbeddedPostgres(open_path / "durable", free_port(), AWKWARD)
    wanted = {
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "TimeZone": "UTC",
        "server_encoding": "UTF8",
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "password_encryption": "scram-sha-256",
    }
    with running(server) as url, psycopg.connect(url) as connection:
        found = {name: connection.execute("SELECT current_setting(%s)", [name]).fetchone() for name in wanted}
    assert found == {name: (value,) for name, value in wanted.items()}


def test_postgresql_asks_for_its_password(postgres: EmbeddedPostgres) -> None:
    with running(postgres) as url:
        guess = f"postgresql://cdr:wrong@127.0.0.1:{urlsplit(url).port}/cdr"
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(guess)


def test_the_folder_of_the_database_is_closed_to_others(postgres: EmbeddedPostgres) -> None:
    postgres.prepare()

    assert stat.S_IMODE(postgres.folder.stat().st_mode) == 0o700
    assert sorted(path.name for path in postgres.folder.iterdir()) == ["cluster", "in-use.lock"]


def test_an_interrupted_initdb_is_done_again(postgres: EmbeddedPostgres) -> None:
    arguments = [sys.executable, "-c", PREPARE, str(postgres.folder)]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as interrupted:
        deadline = time.monotonic() + 30
        while not list(postgres.folder.glob("initdb-*/cluster/PG_VERSION")):
            assert time.monotonic() < deadline
            time.sleep(0.002)
        interrupted.kill()
    assert not postgres.cluster.exists()

    with running(postgres) as url:
        assert query(url, "SELECT current_database()") == "cdr"
    assert list(postgres.folder.glob("initdb-*")) == []


def test_a_failed_initdb_quotes_its_reason(open_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_postgres, "USER", "pg_not_allowed")
    server = EmbeddedPostgres(open_path / "folder", 1, "password")

    with pytest.raises(ConfigurationError, match=r"superuser name \"pg_not_allowed\" is disallowed"):
        server.prepare()

    assert not server.cluster.exists()


def test_an_initdb_that_hangs_is_given_up(postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_postgres, "INITDB_SECONDS", 0.001)

    with pytest.raises(ConfigurationError, match=r"in 0\.001 s"):
        postgres.prepare()

    assert not postgres.cluster.exists()


def test_valkey_keeps_what_it_confirmed_through_a_kill(valkey: EmbeddedValkey) -> None:
    valkey.prepare()
    with subprocess.Popen(valkey.command(), stdout=subprocess.DEVNULL) as process:
        valkey.wait_until_ready(30)
        with redis.Redis.from_url(valkey.url()) as connection:
            connection.set("acked", "1")
            assert connection.execute_command("WAITAOF", 1, 0, 5000) == [1, 0]
        process.kill()

    with running(valkey) as url, redis.Redis.from_url(url) as connection:
        assert connection.get("acked") == b"1"


def test_valkey_is_set_up_to_lose_nothing(valkey: EmbeddedValkey) -> None:
    wanted = {
        b"appendonly": b"yes",
        b"appendfsync": b"always",
        b"no-appendfsync-on-rewrite": b"no",
        b"maxmemory-policy": b"noeviction",
        b"maxmemory": str(memory_bound()).encode(),
        b"save": b"",
        b"bind": b"127.0.0.1",
        b"dir": os.fsencode(valkey.folder),
    }
    with running(valkey) as url, redis.Redis.from_url(url, protocol=2) as connection:
        answer = connection.execute_command("CONFIG", "GET", *wanted)
    pairs = answer.items() if isinstance(answer, dict) else zip(answer[::2], answer[1::2], strict=True)
    assert {os.fsencode(name): os.fsencode(value) for name, value in pairs} == wanted


def test_valkey_may_use_a_quarter_of_the_machine_or_of_the_container(
    open_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quarter = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    bound = open_path / "memory.max"
    monkeypatch.setattr(embedded_valkey, "CONTAINER_BOUND", bound)
    for granted, allowed in (
        (None, quarter),
        ("max\n", quarter),
        (f"{1 << 60}\n", quarter),
        (f"{2 << 30}\n", 512 << 20),
        (f"{64 << 20}\n", 256 << 20),
    ):
        if granted is not None:
            bound.write_text(granted)
        assert memory_bound() == max(allowed, 256 << 20), granted


def test_valkey_never_gets_less_memory_than_at_its_last_start(
    valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_valkey, "memory_bound", lambda: 1000 << 20)
    valkey.prepare()
    for bound, kept in ((500, 1000), (2000, 2000)):
        monkeypatch.setattr(embedded_valkey, "memory_bound", lambda mebibytes=bound: mebibytes << 20)
        valkey.prepare()
        assert f'maxmemory "{kept << 20}"' in valkey.configuration.read_text(encoding="utf-8").splitlines()


def test_valkey_loads_more_than_its_memory_bound_and_then_lets_nobody_take_a_job(valkey: EmbeddedValkey) -> None:
    """Why the bound never shrinks, and why receivers stop at CDR_REDIS_MEMORY_MARK."""
    with running(valkey) as url, redis.Redis.from_url(url) as connection:
        connection.rpush("rq:queue:cdrs", *(f"{number:0>1000}" for number in range(5000)))
    valkey.settings["maxmemory"] = "3mb"
    with running(valkey) as url, redis.Redis.from_url(url) as connection:
        assert connection.llen("rq:queue:cdrs") == 5000
        with pytest.raises(redis.ResponseError, match="maxmemory"):
            connection.lmove("rq:queue:cdrs", "rq:queue:cdrs:intermediate")


def test_valkey_asks_for_its_password(valkey: EmbeddedValkey) -> None:
    with (
        running(valkey) as url,
        redis.Redis(port=urlsplit(url).port or 0, retry=Retry(NoBackoff(), 0)) as connection,
        pytest.raises(redis.AuthenticationError),
    ):
        connection.ping()


def test_a_valkey_with_another_password_is_not_taken_for_ours(valkey: EmbeddedValkey) -> None:
    with running(valkey):
        assert valkey.is_ready()
        assert not EmbeddedValkey(valkey.folder, valkey.port, "another").is_ready()


def test_the_password_is_in_no_command_line_and_in_a_private_file(valkey: EmbeddedValkey, open_path: Path) -> None:
    postgres = EmbeddedPostgres(open_path / "postgres", 1, AWKWARD)
    valkey.prepare()

    assert AWKWARD not in "".join([*valkey.command(), *postgres.command()])
    assert stat.S_IMODE(valkey.configuration.stat().st_mode) == 0o600


@pytest.mark.parametrize("server_type", [EmbeddedPostgres, EmbeddedValkey])
def test_a_server_whose_predecessor_is_still_there_waits_for_it(
    server_type: type[EmbeddedServer], open_path: Path
) -> None:
    predecessor = server_type(open_path / "server", free_port(), "password")
    server = server_type(predecessor.folder, free_port(), "password")
    with running(predecessor):
        with subprocess.Popen(server.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as waiting:
            with pytest.raises(ConfigurationError, match=r"not ready after 0\.3 s"):
                server.wait_until_ready(0.3)
            assert waiting.poll() is None
            waiting.kill()
        assert predecessor.is_ready()


def test_a_server_that_does_not_stop_is_killed(valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdr.embedded_server.STOP_SECONDS", 0.1)
    monkeypatch.setattr(EmbeddedValkey, "stop_signal", signal.SIGCONT)

    with running(valkey):
        pass

    assert not valkey.is_ready()


def test_a_pid_file_that_a_crash_left_does_not_say_ready(postgres: EmbeddedPostgres) -> None:
    postgres.cluster.mkdir(parents=True)
    (postgres.cluster / "postmaster.pid").write_text("1\n/data\n0\n1\n\n127.0.0.1\n0 0\nready   \n")

    assert not postgres.is_ready()


def test_a_wheel_that_is_not_installed_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"no_such_wheel is not installed.*CDR_DATABASE_URL"):
        package_folder("no_such_wheel")


def test_a_wheel_without_a_server_for_this_platform_is_named(
    valkey: EmbeddedValkey, open_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdr.embedded_valkey.package_folder", lambda _: open_path)

    with pytest.raises(ConfigurationError, match="no valkey-server for this platform"):
        valkey.command()
