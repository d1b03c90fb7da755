"""moto's S3 on the loopback, in the test's own process, and a bucket of it in the environment of a test."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

Answer = Iterable[bytes]

SECRET = "a-secret-access-key"


class S3:
    """The server. moto looks and writes in two steps; here one request ends before the next begins, as in one step."""

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
        from werkzeug.serving import make_server

        class Silent(MotoRequestHandler):  # type: ignore[misc]
            def log(self, *_arguments: object) -> None:
                """Keep the output of the tests clean."""

        self._application = DomainDispatcherApplication(create_backend_app)
        self._one_at_a_time = threading.Lock()
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=Silent)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        # A status that every request is answered with, while it is set.
        self.failing: str | None = None
        self.requests: list[tuple[str, str]] = []
        # Whether an upload may take the place of what is there, whatever it says.
        self.overwrites = False
        # How many uploads are still to be done and yet answered as if they had failed.
        self.lost_answers = 0

    def _answer(self, environment: dict[str, Any], start: Callable[..., Any]) -> Answer:
        method = environment["REQUEST_METHOD"]
        self.requests.append((method, environment["PATH_INFO"]))
        if self.failing is not None:
            environment["wsgi.input"].read(int(environment.get("CONTENT_LENGTH") or 0))
            return self._fail(start, self.failing)
        if self.overwrites:
            environment.pop("HTTP_IF_NONE_MATCH", None)
        with self._one_at_a_time:
            if method == "PUT" and self.lost_answers:
                self.lost_answers -= 1
                list(self._application(environment, lambda *_: None))
                return self._fail(start, "500 Internal Server Error")
            return list(self._application(environment, start))

    def _fail(self, start: Callable[..., Any], status: str) -> Answer:
        start(status, [("Content-Type", "application/xml")])
        return [f"<Error><Code>Broken</Code><Message>{SECRET}</Message></Error>".encode()]

    def ask(self, method: str, path: str) -> bytes:
        import urllib.request

        request = urllib.request.Request(f"{self.url}{path}", method=method)
        with urllib.request.urlopen(request) as response:
            return bytes(response.read())

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    server = S3()
    yield server
    server.stop()


@pytest.fixture
def s3(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """The server, nothing wrong with it, named by the environment with credentials, so that no other is asked for them."""
    s3_server.failing = None
    s3_server.lost_answers = 0
    s3_server.overwrites = False
    s3_server.requests.clear()
    for name, value in environment(s3_server.url).items():
        monkeypatch.setenv(name, value)
    return s3_server


def environment(url: str) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": "an-access-key",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": url,
        # Where a machine of Amazon's would ask for its role: nobody is there.
        "AWS_METADATA_ENDPOINT": "http://127.0.0.1:1",
    }


@pytest.fixture
def s3_bucket(s3: S3) -> str:
    """A new bucket's name."""
    name = f"bucket-{uuid.uuid4().hex}"
    s3.ask("PUT", f"/{name}")
    s3.requests.clear()
    return name
