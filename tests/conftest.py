"""The servers that tests run against: one PostgreSQL and one Valkey for each pytest process, started when first wanted."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from pathlib import Path

import psycopg
import pytest
import redis
import structlog
from free_ports import free_port
from hypothesis import HealthCheck, settings
from s3_server import s3, s3_bucket, s3_server

from cdr.embedded_postgres import EmbeddedPostgres
from cdr.embedded_server import running
from cdr.embedded_valkey import EmbeddedValkey
from migrations.apply import migrate

__all__ = ["s3", "s3_bucket", "s3_server"]

PASSWORD = "only-for-tests"
TEMPLATE = "migrated_template"
# The tests of a file run in one process, one after the other. These files begin first, the longest in front, so that none of
# them is left to one process when the others have done.
LONGEST_FIRST = (
    "acceptance/test_recordings.py",
    "compose/test_compose.py",
    "acceptance/test_seeds.py",
    "acceptance/test_faults.py",
    "acceptance/test_scenarios.py",
    "integration/test_up_tree.py",
    "integration/test_spool_crashes.py",
    "integration/test_replay_at_scale.py",
    "integration/test_hook_processes.py",
    "contract/test_job_contract.py",
    "integration/test_receiver_process.py",
)
# Where Linux keeps files in memory, and what the databases of one process may come to.
MEMORY, MEMORY_BYTES = Path("/dev/shm"), 1 << 30
# Test data need not outlive the test; Valkey keeps its real settings, because its fsync is what is tested.
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "max_wal_size": "128MB"}
# How long an example takes says nothing on a busy machine; pytest's own timeout ends a test that hangs.
settings.register_profile("cdr", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("cdr")


def pytest_configure() -> None:
    # What a shell starts in the background ignores SIGINT, and so would whatever the tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int:
    """Start one process more than there are cores: those that run servers and commands mostly wait for them."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files in front; the others stay as pytest-randomly has shuffled them."""
    ranks = {Path(__file__).parent / name: rank for rank, name in enumerate(LONGEST_FIRST)}
    if missing := [path for path in ranks if not path.is_file()]:
        raise pytest.UsageError(f"LONGEST_FIRST in {__file__} names {missing[0]}, which is not there")
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell how much the oracle played in this run, over all processes, and what it found."""
    played: Counter[str] = Counter()
    for report in chain.from_iterable(terminalreporter.stats.values()):
        if getattr(report, "when", None) == "teardown":
            for name, counts in report.user_properties:
                played.update(counts if name == "oracle" else {})
    if played["rounds"]:
        terminalreporter.section("oracle")
        terminalreporter.line(", ".join(f"{number} {name}" for name, number in played.items()))


@contextmanager
def folder_for_any_user(beneath: Path | None = None) -> Iterator[Path]:
    """Make a folder that another user may pass through, as PostgreSQL must where we are root; tmp_path is closed."""
    with tempfile.TemporaryDirectory(prefix="cdr-tests-", dir=beneath, ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture
def open_path() -> Iterator[Path]:
    with folder_for_any_user() as folder:
        yield folder


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    # A test that sets up logging leaves a handler on the stream that pytest closes behind it.
    root = logging.getLogger()
    handlers, level, of_structlog = root.handlers[:], root.level, structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**of_structlog)


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    with folder_for_any_user() as folder:
        yield folder


@pytest.fixture(scope="session")
def undurable_folder() -> Iterator[Path]:
    """Give a folder in memory where there is room: a database has hundreds of files, made and removed for each test."""
    is_roomy = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES
    with folder_for_any_user(MEMORY if is_roomy else None) as folder:
        yield folder


@pytest.fixture(scope="session")
def postgres_server(undurable_folder: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(undurable_folder / "postgres", free_port(), PASSWORD, NOT_DURABLE)
    with running(server):
        yield server


@pytest.fixture(scope="session")
def valkey_server(server_folder: Path) -> Iterator[EmbeddedValkey]:
    server = EmbeddedValkey(server_folder / "valkey", free_port(), PASSWORD)
    with running(server):
        yield server


@pytest.fixture(scope="session")
def migrated_template(postgres_server: EmbeddedPostgres) -> str:
    execute(postgres_server, f"CREATE DATABASE {TEMPLATE}")
    migrate(postgres_server.url(TEMPLATE))
    return TEMPLATE


@pytest.fixture
def database_url(postgres_server: EmbeddedPostgres, migrated_template: str) -> Iterator[str]:
    with clone(postgres_server, migrated_template) as url:
        yield url


@pytest.fixture(scope="session")
def unchanged_database_url(postgres_server: EmbeddedPostgres, migrated_template: str) -> Iterator[str]:
    """Give the migrated database of all the tests that leave it as it is."""
    with clone(postgres_server, migrated_template) as url:
        yield url


@pytest.fixture
def empty_database_url(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    with temporary_database(postgres_server) as url:
        yield url


@pytest.fixture
def redis_url(valkey_server: EmbeddedValkey) -> str:
    with redis.Redis.from_url(valkey_server.url()) as connection:
        connection.flushall()
    return valkey_server.url()


def clone(server: EmbeddedPostgres, template: str) -> AbstractContextManager[str]:
    # Copying the files spares the way through the log.
    return temporary_database(server, f"TEMPLATE {template} STRATEGY file_copy")


@contextmanager
def temporary_database(server: EmbeddedPostgres, options: str = "") -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    execute(server, f"CREATE DATABASE {name} {options}")
    try:
        yield server.url(name)
    finally:
        execute(server, f"DROP DATABASE {name} WITH (FORCE)")


def execute(server: EmbeddedPostgres, statement: str) -> None:
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(statement)
