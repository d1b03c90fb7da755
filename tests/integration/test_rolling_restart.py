"""Every process may be replaced under load: what was acknowledged is loaded, nothing fails, and no sender is turned away."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path

import pytest
import redis
from free_ports import free_port
from receiving import ADDRESS
from running import loaded, processes, until
from test_receiver_process import Receiver

from common.job_queue import CDRS, failed_key, queue_key
from common.queue_format import lease_key

SENDERS = 4
BETWEEN_TWO_RESTARTS = 150


class Senders:
    """Senders that post one CDR after the other, each on a connection that it keeps; they note what was acknowledged."""

    def __init__(self, port: int) -> None:
        self.acknowledged: set[str] = set()
        self._port = port
        self._stop = threading.Event()

    def send(self, sender: int) -> None:
        """Post until told to stop; raises for anything but an acknowledgement."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=60)
        number = 0
        while not self._stop.is_set():
            call_id = f"{sender}-{number}"
            body = json.dumps({"ivruniqueid": call_id, "time": 1_790_000_000, "type": "Incoming Call"})
            status, answer = self._post(connection, body)
            assert (status, json.loads(answer)["err"]) == (200, "0"), answer
            self.acknowledged.add(call_id)
            number += 1
        connection.close()

    def _post(self, connection: HTTPConnection, body: str) -> tuple[int, bytes]:
        """Post once more if the connection was closed before an answer came; a connection that is refused is an error."""
        while True:
            try:
                connection.request("POST", ADDRESS, body)
                response = connection.getresponse()
                return response.status, response.read()
            except (RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                connection.close()

    def stop(self) -> None:
        self._stop.set()

    def wait_for_more(self) -> None:
        enough = len(self.acknowledged) + BETWEEN_TWO_RESTARTS
        until(lambda: len(self.acknowledged) >= enough, seconds=90)


@pytest.fixture
def connection(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.mark.timeout(400)
def test_each_process_is_replaced_under_load_and_nothing_is_lost_failed_or_refused(
    connection: redis.Redis, redis_url: str, database_url: str, tmp_path: Path
) -> None:
    port = free_port()
    with ExitStack() as stack, processes(database_url, redis_url) as start, ThreadPoolExecutor(SENDERS) as pool:

        def receiver(name: str) -> Receiver:
            made = Receiver(redis_url, tmp_path / name, port, CDR_REUSE_PORT="true")
            stack.callback(made.stop)
            made.wait_until_up()
            return made

        old_receiver, others = receiver("first"), [start("worker", CDRS), start("worker", CDRS), start("scheduler")]
        senders = Senders(port)
        stack.callback(senders.stop)
        sending = [pool.submit(senders.send, number) for number in range(SENDERS)]

        senders.wait_for_more()
        for name in ("second", "third"):
            new_receiver = receiver(name)
            assert old_receiver.stop() == 0
            senders.wait_for_more()
            old_receiver = new_receiver
        for old, role in zip(others, (("worker", CDRS), ("worker", CDRS), ("scheduler",)), strict=True):
            start(*role)
            old.terminate()
            assert old.wait(60) == 0
            senders.wait_for_more()

        senders.stop()
        for each in sending:
            each.result()
        until(lambda: loaded(database_url) == senders.acknowledged, seconds=90)
        until(lambda: not connection.exists(queue_key(CDRS), lease_key(CDRS)))
    assert connection.zcard(failed_key(CDRS)) == 0
