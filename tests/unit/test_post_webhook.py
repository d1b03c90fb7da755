"""The ready webhook: what it posts and signs, what each answer means, and that nothing of the address is told. No test leaves the machine."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from common.errors import ConfigurationError
from worker import post_webhook
from worker.hooks import LoadedCdr, TryLater, webhook
from worker.post_webhook import Receiver, WebhookFailed, event_body, signed_headers

NOON = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
CDR = LoadedCdr(
    identity="ab" * 32,
    provider_time=NOON.replace(tzinfo=None),
    account="default",
    call_id="c-1",
    outcome="answered",
    started_at=NOON,
    time_rule="local",
    first_received_at=NOON,
    last_received_at=NOON,
    loaded_at=NOON,
    event_id="0123456789abcdef" * 2,
)
SECRET = "only-for-tests-0123"
OF_THE_ADDRESS = "token-of-the-address"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"


class Served:
    """Serves raw bytes, one answer a request, over as many connections as come."""

    def __init__(self, answers: Iterable[bytes | Iterable[bytes]], tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.answers = list(answers)
        self.requests: list[tuple[bytes, bytes]] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def url(self, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}/hook?{OF_THE_ADDRESS}"

    def _serve(self) -> None:
        with suppress(OSError):
            while self.answers:
                connection, _ = self._listener.accept()
                self.connections += 1
                with suppress(OSError), self._secured(connection) as connection, connection.makefile("rb") as stream:
                    while self.answers and (head := self._head(stream)):
                        lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
                        self.requests.append((head, stream.read(int(lines[b"Content-Length"]))))
                        if not self._answer(connection, self.answers.pop(0)):
                            break

    def _secured(self, connection: socket.socket) -> socket.socket:
        try:
            return self._tls.wrap_socket(connection, server_side=True) if self._tls else connection
        except OSError:
            connection.close()
            raise

    @staticmethod
    def _head(stream: Any) -> bytes:
        """Read a request's head, empty when there is none any more."""
        lines = []
        while (line := stream.readline()) not in {b"\r\n", b""}:
            lines.append(line)
        return b"".join(lines)

    @staticmethod
    def _answer(connection: socket.socket, answer: bytes | Iterable[bytes]) -> bool:
        """Send an answer; tell whether the connection stays open after it."""
        for part in [answer] if isinstance(answer, bytes) else answer:
            connection.sendall(part)
        return isinstance(answer, bytes) and b"Connection: close" not in answer

    def close(self) -> None:
        self.answers.clear()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@contextmanager
def serving(*answers: bytes | Iterable[bytes], tls: ssl.SSLContext | None = None) -> Iterator[Served]:
    server = Served(answers, tls)
    try:
        yield server
    finally:
        server.close()


def post(server: Served, times: int = 1) -> None:
    receiver = Receiver(server.url())
    try:
        for _ in range(times):
            receiver.post(b"{}", {})
    finally:
        receiver.close()


def drip() -> Iterator[bytes]:
    """Answer that all is well, one byte after the other for ten seconds."""
    yield b"HTTP/1.1"
    for _ in range(200):
        time.sleep(0.05)
        yield b" "
    yield b"200 OK\r\nContent-Length: 0\r\n\r\n"


def answer(status: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("CONNECT_SECONDS", "READ_SECONDS"):
        monkeypatch.setattr(post_webhook, name, 5.0)
    yield
    post_webhook._settings.cache_clear()
    post_webhook._receiver.cache_clear()


def test_the_event_says_what_happened_and_to_which_cdr() -> None:
    event = json.loads(event_body(CDR))
    assert (event["event"], event["event_id"], event["cdr"]["call_id"]) == ("cdr.loaded", CDR.event_id, "c-1")


def test_the_signature_is_over_the_time_and_the_body() -> None:
    headers = signed_headers(b"{}", "e", SECRET, 1_790_000_000)
    expected = hmac.new(SECRET.encode(), b"1790000000.{}", hashlib.sha256).hexdigest()
    assert headers["X-CDR-Signature"] == f"v1={expected}"
    assert (headers["X-CDR-Timestamp"], headers["X-CDR-Event-Id"]) == ("1790000000", "e")
    assert (headers["Content-Type"], headers["User-Agent"]) == ("application/json", "cdr-pipeline")


def test_it_is_posted_to_the_address_of_the_settings_and_to_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("CDR_WEBHOOK_SECRET", SECRET)
    with serving(OK) as server:
        monkeypatch.setenv("CDR_WEBHOOK_URL", server.url())
        webhook(CDR)
        post_webhook._receiver(server.url()).close()
        [(head, body)] = server.requests
    assert head.startswith(f"POST /hook?{OF_THE_ADDRESS} HTTP/1.1\r\n".encode())
    assert (body, b"Accept-Encoding: identity" in head) == (event_body(CDR), True)


@pytest.mark.parametrize("name", ["CDR_WEBHOOK_URL", "CDR_WEBHOOK_SECRET"])
def test_half_of_the_settings_is_not_enough_to_post(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("CDR_WEBHOOK_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("CDR_WEBHOOK_SECRET", SECRET)
    monkeypatch.delenv(name)
    with pytest.raises(ConfigurationError, match="CDR_WEBHOOK"):
        webhook(CDR)


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "204 No Content", "299 Whatever"])
def test_a_success_is_done(status: str) -> None:
    with serving(answer(status)) as server:
        post(server)


@pytest.mark.parametrize("status", ["301 Moved", "400 Bad", "404 None", "410 Gone", "429 Slow", "500 Ill", "503 Ill"])
def test_anything_else_is_a_failure_that_names_the_host_and_the_status(status: str) -> None:
    with serving(answer(status, "Location: http://127.0.0.1:1/elsewhere")) as server:
        with pytest.raises(WebhookFailed, match=f"^127.0.0.1 answers HTTP {status[:3]}$"):
            post(server)
        assert len(server.requests) == 1


@pytest.mark.parametrize("status", ["429 Slow", "503 Ill"])
@pytest.mark.parametrize(("told", "seconds"), [("120", 120.0), ("0", 0.0), ("999999999", 21_600.0)])
def test_who_asks_to_wait_is_heeded_within_bounds(status: str, told: str, seconds: float) -> None:
    with serving(answer(status, f"Retry-After: {told}")) as server, pytest.raises(TryLater) as raised:
        post(server)
    assert (raised.value.seconds, str(raised.value)) == (seconds, f"127.0.0.1 answers HTTP {status[:3]}")


def test_who_asks_to_wait_until_a_date_is_heeded() -> None:
    date = format_datetime(datetime.fromtimestamp(time.time() + 3600, UTC), usegmt=True)
    with serving(answer("503 Ill", f"Retry-After: {date}")) as server, pytest.raises(TryLater) as raised:
        post(server)
    assert 3000 < raised.value.seconds <= 3600


@pytest.mark.parametrize("told", ["soon", "-", "9" * 5000, "Mon, 99 Foo 99999 00:00:00 GMT"])
def test_a_wait_that_is_none_is_a_plain_failure(told: str) -> None:
    with serving(answer("503 Ill", f"Retry-After: {told}")) as server, pytest.raises(WebhookFailed):
        post(server)


def test_another_failure_that_asks_to_wait_is_a_plain_one() -> None:
    with serving(answer("500 Ill", "Retry-After: 120")) as server, pytest.raises(WebhookFailed):
        post(server)


def test_a_connection_is_kept_between_posts() -> None:
    with serving(OK, OK, OK) as server:
        post(server, times=3)
        assert (server.connections, len(server.requests)) == (1, 3)


@pytest.mark.parametrize("status", ["200 OK", "500 Ill"])
def test_a_connection_that_the_receiver_closed_is_opened_anew(status: str) -> None:
    with serving(answer(status, "Connection: close"), OK) as server:
        receiver = Receiver(server.url())
        with suppress(WebhookFailed):
            receiver.post(b"{}", {})
        receiver.post(b"{}", {})
        receiver.close()
        assert server.connections == 2


def test_a_connection_that_was_closed_while_idle_is_opened_anew() -> None:
    with serving([OK], OK) as server:
        receiver = Receiver(server.url())
        receiver.post(b"{}", {})
        deadline = time.monotonic() + 60
        while receiver._connection is not None and receiver._connection.is_connected:
            assert time.monotonic() < deadline
        receiver.post(b"{}", {})
        receiver.close()
        assert server.connections == 2


def test_an_answer_without_end_is_not_read_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        while True:
            yield b"x" * 65_536

    with serving(endless(), OK) as server:
        post(server, times=2)
        assert server.connections == 2


def test_an_answer_that_breaks_off_after_its_success_is_done() -> None:
    with serving([b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"], OK) as server:
        post(server, times=2)


@pytest.mark.parametrize("broken", [b"", b"HTTP/1.1 20", b"\0\xff\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200])
def test_what_is_no_answer_is_a_failure_and_the_next_post_begins_anew(broken: bytes) -> None:
    with serving([broken], OK) as server:
        receiver = Receiver(server.url())
        with pytest.raises(WebhookFailed, match=r"^127\.0\.0\.1 broke off: "):
            receiver.post(b"{}", {})
        receiver.post(b"{}", {})
        receiver.close()


def test_an_answer_that_drips_in_is_cut_off_at_the_end_of_all_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(post_webhook, "TOTAL_SECONDS", 0.5)

    with serving(drip()) as server, pytest.raises(WebhookFailed, match="broke off"):
        post(server)


def test_a_receiver_that_says_nothing_is_waited_for_no_longer_than_a_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(post_webhook, "READ_SECONDS", 0.2)
    gate = threading.Event()

    def silent() -> Iterator[bytes]:
        gate.wait(30)
        yield b""

    with serving(silent()) as server:
        with pytest.raises(WebhookFailed, match="broke off"):
            post(server)
        gate.set()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://nowhere.invalid/"])
def test_a_receiver_that_is_not_there_is_a_failure(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> list[Any]:
        raise socket.gaierror(-2, "Name or service not known")

    if "invalid" in url:
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(WebhookFailed, match="broke off"):
        Receiver(url + OF_THE_ADDRESS).post(b"{}", {})


def test_no_failure_and_no_log_line_tells_more_of_the_address_than_its_host(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answers: list[bytes | list[bytes]] = [answer("500 Ill"), [b"nothing"], [b"HTTP/1.1 500 Ill\r\nno header\r\n\r\n"]]
    with serving(*answers) as server, ExitStack() as stack:
        receiver = Receiver(server.url())
        stack.callback(receiver.close)
        for _ in answers:
            with pytest.raises(WebhookFailed) as raised:
                receiver.post(b"{}", {})
            assert OF_THE_ADDRESS not in str(raised.value)
            assert raised.value.__cause__ is None
            assert raised.value.__suppress_context__ or raised.value.__context__ is None
    assert OF_THE_ADDRESS not in caplog.text


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Write a certificate of 127.0.0.1 that it has signed itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(made.public_bytes(Encoding.PEM) + private)
    return path


@pytest.fixture
def tls(certificate: Path) -> Iterator[ssl.SSLContext]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    post_webhook._tls.cache_clear()
    yield context
    post_webhook._tls.cache_clear()


def test_over_tls_a_certificate_of_ones_own_is_taken_where_it_is_named(
    tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving(OK, OK, tls=tls) as server:
        receiver = Receiver(server.url("https"))
        receiver.post(b"{}", {})
        receiver.post(b"{}", {})
        receiver.close()
        assert (server.connections, len(server.requests)) == (1, 2)


def test_over_tls_a_certificate_that_nobody_vouches_for_is_refused(tls: ssl.SSLContext) -> None:
    with serving(OK, tls=tls) as server:
        with pytest.raises(WebhookFailed, match="broke off: SSLCertVerificationError"):
            Receiver(server.url("https")).post(b"{}", {})
        assert server.requests == []


def test_over_tls_an_answer_that_drips_in_is_cut_off(
    tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setattr(post_webhook, "TOTAL_SECONDS", 0.5)
    with serving(drip(), tls=tls) as server, pytest.raises(WebhookFailed, match="broke off"):
        Receiver(server.url("https")).post(b"{}", {})


def test_a_tls_handshake_that_drips_in_is_cut_off_at_the_end_of_all_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(post_webhook, "TOTAL_SECONDS", 0.5)
    cut_off = threading.Event()

    def drip_handshake(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            # A handshake record of 16 KiB, so that each byte is waited for and none is wrong.
            connection.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")
            for _ in range(200):
                connection.sendall(b"\x03")
                time.sleep(0.05)
            return
        cut_off.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip_handshake, args=(listener,))
        thread.start()
        with pytest.raises(WebhookFailed, match="broke off"):
            Receiver(f"https://127.0.0.1:{listener.getsockname()[1]}/").post(b"{}", {})
        thread.join()
    assert cut_off.is_set()
