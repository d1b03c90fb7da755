"""An environment in which `cdr doctor` finds nothing wrong, and what it says once a test has broken a part of it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from command_line import Done, Product, product

from cdr.doctor.settings_checks import RQ_CLASSES
from common.job_queue import QUEUES
from common.receiver_state import ReceiverState, SpoolState, publish_commands
from worker.queue_worker import CdrWorker

__all__ = ["Here", "black_hole", "here", "product"]

SECRET = "only-for-tests-0123"
# The tests' PostgreSQL is fast and not durable, which the doctor rightly says.
OF_THE_TESTS = {"postgresql.durable": "warning"}


class Here:
    """One environment: its servers, its folders, and the doctor in it."""

    def __init__(self, product: Product, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.product = product
        self.spool = folder / "spool"
        self.recordings = folder / "recordings"
        self._monkeypatch = monkeypatch
        self.spool.mkdir()
        settings = {
            "CDR_SPOOL_DIR": str(self.spool),
            "CDR_SPOOL_MAX_BYTES": str(2 << 20),
            "CDR_RECORDINGS_URL": self.recordings.as_uri(),
            "CDR_RECEIVER_SECRETS": f"shop:{SECRET}",
            "CDR_PUBLIC_URL": "https://cdr.example.invalid",
            # A busy machine may take longer for an fsync than a receiver would wait.
            "CDR_ACK_TIMEOUT_MS": "60000",
            **{f"RQ_{name.upper()}": value for name, value in RQ_CLASSES.items()},
        }
        self.set(**settings)

    def set(self, **settings: str) -> None:
        for name, value in settings.items():
            self._monkeypatch.setenv(name, value)

    def unset(self, *names: str) -> None:
        for name in names:
            self._monkeypatch.delenv(name)

    def doctor(self, *arguments: str) -> Done:
        return self.product.cdr("doctor", *arguments)

    def findings(self) -> dict[str, dict[str, str]]:
        done = self.doctor("--json")
        found = {each["check"]: each for each in done.json}
        assert done.exit_code == (1 if "problem" in {each["status"] for each in done.json} else 0)
        assert all(each["advice"] for each in done.json if each["status"] in {"warning", "problem"})
        return found

    def faults(self) -> dict[str, str]:
        """Return the checks that found a problem or a warning."""
        found = {name: each["status"] for name, each in self.findings().items()}
        return {name: status for name, status in found.items() if status not in {"ok", "info"}}

    def publish(self, name: str = "receiver-1", **changes: Any) -> None:
        told = {"at": time.time(), "ack_level": "fsync", "stores_in": "redis", "reason": None, "spool": SpoolState()}
        for command in publish_commands(ReceiverState(name, **{**told, **changes})):
            self.product.redis.execute_command(*command)


@pytest.fixture
def here(product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    made = Here(product, tmp_path, monkeypatch)
    with at_work(product):
        made.publish()
        yield made


@contextmanager
def at_work(product: Product) -> Iterator[None]:
    """Have a worker on each queue and a scheduler, as far as others can see."""
    with ExitStack() as stack:
        scheduler = {"application_name": "cdr scheduler", "autocommit": True}
        stack.enter_context(psycopg.connect(product.database_url, **scheduler)).execute("SELECT 1")
        workers = [CdrWorker([queue], connection=product.redis) for queue in QUEUES]
        for worker in workers:
            worker.register_birth()
        yield


@contextmanager
def black_hole() -> Iterator[str]:
    """Give the host and port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield "{}:{}".format(*listener.getsockname())
