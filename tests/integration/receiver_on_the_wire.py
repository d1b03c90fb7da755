"""A receiver as a process of its own, and what is needed to talk to it byte by byte."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from free_ports import free_port
from receiving import ACCOUNT, ADDRESS, SECRET

from cdr.embedded_valkey import EmbeddedValkey

ROOT = Path(__file__).parents[2]
CDR = b'{"ivruniqueid": "x"}'
OK = b'{"err":"0","errdesc":"OK"}'


class Receiver:
    """A `cdr receiver` process on `port`, with its log in `log`; `code` is what runs it."""

    code = "from cdr.main import main; main()"

    def __init__(self, redis_url: str, log: Path, port: int, **environment: str) -> None:
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("CDR_", "RQ_"))}
        settings = {
            "PYTHONPATH": str(ROOT),
            "CDR_REDIS_URL": redis_url,
            "CDR_RECEIVER_SECRETS": f"{ACCOUNT}:{SECRET}",
            "CDR_PORT": str(port),
            "CDR_MAX_BODY_BYTES": "1000000",
            "CDR_LOG_LEVEL": "debug",
            **environment,
        }
        self.port = port
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", self.code, "receiver"],
                env={**plain, **settings},
                stdout=output,
                stderr=output,
            )

    def wait_until_up(self) -> None:
        """Wait for its own word: on a shared port another receiver would answer."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            if "receiver listens" in self.log.read_text(encoding="utf-8"):
                return
            time.sleep(0.02)
        raise AssertionError(self.log.read_text(encoding="utf-8"))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@contextmanager
def receiver_process(redis_url: str, folder: Path, port: int = 0, **environment: str) -> Iterator[Receiver]:
    receiver = Receiver(redis_url, folder / "receiver.log", port or free_port(), **environment)
    try:
        receiver.wait_until_up()
        yield receiver
    finally:
        receiver.stop()


@pytest.fixture(scope="module")
def kept_receiver(valkey_server: EmbeddedValkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with receiver_process(valkey_server.url(), tmp_path_factory.mktemp("receiver")) as receiver:
        yield receiver


@pytest.fixture
def receiver(redis_url: str, kept_receiver: Receiver) -> Receiver:
    """Give the receiver of all tests of a file that leave it running, with an empty Redis and an empty log."""
    kept_receiver.log.write_bytes(b"")
    return kept_receiver


def request(body: bytes, *headers: str, version: str = "1.1", length: bool = True) -> bytes:
    lines = [f"POST {ADDRESS} HTTP/{version}", "Host: receiver.invalid", *headers]
    lines += [f"Content-Length: {len(body)}"] if length else []
    return "\r\n".join([*lines, "", ""]).encode() + body


def connected(receiver: Receiver) -> socket.socket:
    return socket.create_connection(("127.0.0.1", receiver.port), timeout=60)


def received(connection: socket.socket, ending: bytes = b"") -> bytes:
    """Read what comes until `ending`, or until the other side closes."""
    data = b""
    while not (ending and data.endswith(ending)):
        chunk = connection.recv(65536)
        if not chunk:
            break
        data += chunk
    return data
