"""Ten thousand recordings from a host that is late, busy, wrong and hostile: each ends in its right state, stored once."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from free_ports import free_port
from recording_provider import LARGEST_BYTES, SHARES, audio, page

from cdr.post_cdr import Poster
from cdr.simulate.bodies import encode_body
from cdr.simulate.calls import CallFactory

RECORDINGS = 10_000
MOST_AT_A_TIME = 24
POSTS_AT_A_TIME = 16
PROVIDER = Path(__file__).with_name("recording_provider.py")


class Running:
    """The roles that a CDR with a recording passes, each a process, and the host that has the recordings."""

    def __init__(self, stack: ExitStack, database_url: str, redis_url: str, folder: Path) -> None:
        self._stack = stack
        self._port = free_port()
        self.database_url, self.folder = database_url, folder
        self._host = self._start([sys.executable, str(PROVIDER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._host.stdout is not None
        self.recordings_base = self._host.stdout.readline().decode().strip()
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("CDR_")} | {
            "CDR_DATABASE_URL": database_url,
            "CDR_REDIS_URL": redis_url,
            "CDR_PORT": str(self._port),
            "CDR_RECORDINGS_URL": folder.as_uri(),
            "CDR_RECORDING_ALLOW_NETWORKS": "127.0.0.1/32",
            "CDR_RECORDING_MAX_BYTES": str(LARGEST_BYTES),
            "CDR_RECORDING_PER_HOST": str(MOST_AT_A_TIME),
            "CDR_RECORDING_RETRY_SECONDS": "1,1,1",
        }

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self._start([sys.executable, "-m", "cdr", *arguments], env=self._environment)

    def _start(self, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, **options)
        self._stack.enter_context(process)
        self._stack.callback(process.kill)
        return process

    def account(self) -> dict[str, int]:
        with urllib.request.urlopen(f"{self.recordings_base}/account", timeout=10) as answer:
            return dict(json.load(answer))

    def post_all(self, cdrs: list[dict[str, Any]]) -> None:
        """Post each CDR until it is stored."""
        with Poster(f"http://127.0.0.1:{self._port}/cdr", 10.0, POSTS_AT_A_TIME) as poster:

            def deliver(fields: dict[str, Any]) -> None:
                body, content_type = encode_body(fields, "json")
                while not poster.post(body, content_type).stored:
                    time.sleep(0.2)

            with ThreadPoolExecutor(POSTS_AT_A_TIME) as threads:
                list(threads.map(deliver, cdrs))

    def select(self, query: str) -> list[Any]:
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(query.encode()).fetchall()


@pytest.fixture
def running(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Running]:
    with ExitStack() as stack:
        yield Running(stack, database_url, redis_url, tmp_path / "recordings")


def recorded_cdrs(base: str) -> list[dict[str, Any]]:
    """Make simulated CDRs until so many recordings are named."""
    cdrs: list[dict[str, Any]] = []
    named: set[Any] = set()
    for call in CallFactory(random.Random(4).getrandbits(32), recordings_base=base):
        cdrs += call
        named |= {fields["record"] for fields in call if fields["record"]}
        if len(named) >= RECORDINGS:
            return cdrs
    raise AssertionError("the stream of calls has no end")


def wait_until(condition: Callable[[], Any], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.5)


@pytest.mark.timeout(900)
def test_ten_thousand_recordings_end_in_their_right_state(running: Running) -> None:
    for role in (("receiver",), ("worker", "cdrs"), ("worker", "recordings"), ("scheduler",)):
        running.start(*role)
    killed = running.start("worker", "recordings")
    cdrs = recorded_cdrs(running.recordings_base)

    running.post_all(cdrs)
    wait_until(lambda: running.account()["requests"] > RECORDINGS // 3, 300, "no recordings are fetched")
    killed.send_signal(signal.SIGKILL)
    running.start("worker", "recordings")

    def is_settled() -> bool:
        ((rows, pending),) = running.select(
            "SELECT (SELECT count(DISTINCT source_url) FROM cdr.recordings),"
            " (SELECT count(*) FROM cdr.recordings WHERE status = 'pending')"
        )
        return bool(rows >= RECORDINGS and not pending)

    wait_until(is_settled, 500, "some recordings are still pending")
    account = running.account()
    rows = running.select("SELECT source_url, status, storage_key, bytes, sha256, seconds FROM cdr.recordings")

    wrong = [(url, status) for url, status, *_ in rows if status != page(urlsplit(url).path).status]
    assert wrong == []
    # Each behaviour had its part in it.
    assert {page(urlsplit(url).path).behaviour for url, *_ in rows} == {name for name, *_ in SHARES}
    check_objects(running.folder, rows)
    assert account["private_connections"] == 0
    assert account["most_open_of_a_page"] == 1
    assert account["most_open"] <= MOST_AT_A_TIME
    # The pauses make up a good part of the run, so that recorders who did not heed them would ask by the thousand.
    assert account["pauses"] > 0
    assert account["asked_in_pauses"] <= account["requests"] // 100


def check_objects(folder: Path, rows: list[Any]) -> None:
    """Find each stored recording in the folder, once, with the bytes that its host has, and nothing besides."""
    stored = {key: (url, size, bytes(sha256)) for url, status, key, size, sha256, _ in rows if status == "stored"}
    # What the killed recorder was writing is in a place of its own, where nobody looks for a recording.
    paths = [path for path in folder.rglob("*") if path.is_file() and ".incoming" not in path.parts]
    files = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    assert set(files) == set(stored)
    for key, content in files.items():
        url, size, sha256 = stored[key]
        assert content == audio(urlsplit(url).path)
        assert (len(content), hashlib.sha256(content).digest()) == (size, sha256)
    assert Counter(files.values()).most_common(1)[0][1] == 1
    assert {float(seconds) for *_, seconds in rows if seconds is not None} == {0.1}
