"""The examples of docs/hooks.md at work: CDRs that are queued are loaded, and told by real workers to a server on the loopback."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import redis
from loading import delivery, leg
from running import processes, until

from common.job_queue import CDRS, HOOKS, LOAD_CDRS, NewJob, failed_key, queue_key, scheduled_key
from common.queue_format import lease_key
from worker.outbox import enqueue

DOCS = (Path(__file__).parents[2] / "docs" / "hooks.md").read_text(encoding="utf-8")
EXAMPLE, VERIFY, _ = re.findall(r"```python\n(.*?)```", DOCS, flags=re.DOTALL)
SECRET = "only-for-tests-0123"


class Crm(ThreadingHTTPServer):
    """A server on the loopback that notes each request, and answers with the statuses that it was given, then with 200."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.statuses: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Request(BaseHTTPRequestHandler):
    server: Crm
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.command, self.path, dict(self.headers.items()), body))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_PUT = do_POST = answer  # noqa: N815 - the names of http.server

    def log_message(self, *_: object) -> None:
        """Keep the output of the tests clean."""


@pytest.fixture
def crm() -> Iterator[Crm]:
    with Crm() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def queue_cdr(connection: Any, call_id: str, **fields: Any) -> None:
    enqueue(connection, [NewJob(CDRS, LOAD_CDRS, ([delivery(leg(call_id, **fields))],), "load")])


def at_rest(connection: Any) -> bool:
    keys = (queue_key(HOOKS), lease_key(HOOKS), scheduled_key(HOOKS))
    return not any(connection.exists(key) for key in keys)


def test_the_example_posts_a_loaded_cdr_to_a_crm(
    redis_url: str, database_url: str, crm: Crm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "crm.py").write_text(EXAMPLE, encoding="utf-8")
    settings = {"CDR_HOOKS": "crm:post_call", "PYTHONPATH": str(tmp_path), "CRM_URL": crm.url, "CRM_TOKEN": "t"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    crm.statuses = [422]
    with redis.Redis.from_url(redis_url) as connection, processes(database_url, redis_url) as start:
        queue_cdr(connection, "refused", caller="0546666667")
        for role in (("worker", "cdrs"), ("worker", "hooks"), ("scheduler",)):
            start(*role)
        until(lambda: connection.zcard(failed_key(HOOKS)) == 1, seconds=60)
        queue_cdr(connection, "answered", caller="0546666666", duration=33)
        queue_cdr(connection, "from-inside", caller="AAPINFzL")
        until(lambda: len(crm.requests) == 2 and at_rest(connection), seconds=60)
    _, (method, path, headers, body) = crm.requests
    assert (method, headers["Authorization"]) == ("PUT", "Bearer t")
    assert re.fullmatch(r"/calls/[0-9a-f]{64}", path)
    told = json.loads(body)
    assert (told["number"], told["outcome"], told["talk_seconds"]) == ("+972546666666", "answered", 33)


def test_what_the_webhook_posts_is_genuine_to_the_example_of_a_receiver(
    redis_url: str, database_url: str, crm: Crm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDR_HOOKS", "worker.hooks:webhook")
    monkeypatch.setenv("CDR_WEBHOOK_URL", f"{crm.url}/calls?token=of-the-address")
    monkeypatch.setenv("CDR_WEBHOOK_SECRET", SECRET)
    with redis.Redis.from_url(redis_url) as connection, processes(database_url, redis_url) as start:
        queue_cdr(connection, "a", queuename="מכירות")
        for role in (("worker", "cdrs"), ("worker", "hooks"), ("scheduler",)):
            start(*role)
        until(lambda: crm.requests and at_rest(connection), seconds=60)
    [(method, path, headers, body)] = crm.requests
    event = json.loads(body)
    assert (method, path) == ("POST", "/calls?token=of-the-address")
    assert (event["event"], event["event_id"]) == ("cdr.loaded", headers["X-CDR-Event-Id"])
    assert (event["cdr"]["call_id"], event["cdr"]["acd_queue_name"]) == ("a", "מכירות")
    names: dict[str, Any] = {}
    exec(VERIFY, names)
    assert names["is_genuine"](headers, body, SECRET)
