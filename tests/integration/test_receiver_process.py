"""The receiver as its own process: what arrives on the wire, and how it ends."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest
from free_ports import free_port
from receiver_on_the_wire import (
    CDR,
    OK,
    Receiver,
    connected,
    kept_receiver,
    received,
    receiver,
    receiver_process,
    request,
)
from receiving import ADDRESS, SECRET, deliveries, jobs

from api.admission import MAX_BYTES
from api.guards import READ_ON_TIMES

__all__ = ["kept_receiver", "receiver"]


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE"])
def test_other_methods_store_nothing_and_tell_nothing_of_the_secret(
    receiver: Receiver, redis_url: str, method: str
) -> None:
    with connected(receiver) as connection:
        connection.sendall(request(CDR, "Connection: close").replace(b"POST", method.encode(), 1))
        head, _, body = received(connection).partition(b"\r\n\r\n")
    status, expected = (b"200", b"") if method == "HEAD" else (b"405", b"method not allowed")
    assert (head.split(b" ")[1], body) == (status, expected)
    assert SECRET.encode() not in head
    assert SECRET not in receiver.log.read_text(encoding="utf-8")
    assert jobs(redis_url) == []


def test_a_slow_body_over_the_limit_leaves_the_room_to_others(redis_url: str, tmp_path: Path) -> None:
    # All that is read on of it is all that may be in flight.
    limit, last = MAX_BYTES // READ_ON_TIMES, b"x" * 1000
    large = json.dumps({"ivruniqueid": "large", "extra": "y" * 100_000}).encode()
    with (
        receiver_process(redis_url, tmp_path, CDR_MAX_BODY_BYTES=str(limit)) as receiver,
        connected(receiver) as slow,
        connected(receiver) as other,
    ):
        head = f"POST {ADDRESS} HTTP/1.1\r\nHost: receiver.invalid\r\nContent-Length: {MAX_BYTES}\r\n\r\n"
        slow.sendall(head.encode() + b"x" * (MAX_BYTES - len(last)))
        for _ in range(20):
            # What was sent last may be on its way yet.
            time.sleep(0.05)
            other.sendall(request(large))
            assert b" 200 " in received(other, b"}").splitlines()[0]
        slow.sendall(last)
        assert b" 413 " in received(slow, b"}").splitlines()[0]
    assert len(deliveries(redis_url)) == 20


def test_http_1_0_is_answered_and_the_connection_closed(receiver: Receiver) -> None:
    with connected(receiver) as connection:
        connection.sendall(request(CDR, version="1.0"))
        reply = received(connection)
    assert reply.split(b" ")[1] == b"200"
    assert reply.endswith(OK)


def test_a_post_without_a_content_type_is_taken(receiver: Receiver, redis_url: str) -> None:
    with connected(receiver) as connection:
        connection.sendall(request(CDR))
        assert received(connection, OK).startswith(b"HTTP/1.1 200 ")
    assert len(deliveries(redis_url)) == 1


@pytest.mark.parametrize("protocol", ["h2c", "TLS/1.2", "websocket"])
def test_a_post_that_offers_another_protocol_is_taken(receiver: Receiver, redis_url: str, protocol: str) -> None:
    with connected(receiver) as connection:
        connection.sendall(request(CDR, "Connection: Upgrade", f"Upgrade: {protocol}"))
        assert received(connection, OK).startswith(b"HTTP/1.1 200 ")
    assert len(deliveries(redis_url)) == 1


def test_headers_without_end_are_cut_off(receiver: Receiver) -> None:
    with connected(receiver) as connection, pytest.raises(ConnectionError):
        send_headers(connection, 200 * (b"x-a: " + b"b" * 60_000 + b"\r\n"))


def send_headers(connection: socket.socket, headers: bytes) -> None:
    connection.sendall(b"POST /cdr/wrong HTTP/1.1\r\nHost: receiver.invalid\r\n" + headers)


def test_a_sender_that_asks_first_is_told_to_go_on(receiver: Receiver) -> None:
    with connected(receiver) as connection:
        connection.sendall(request(CDR, "Expect: 100-continue").removesuffix(CDR))
        assert received(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        connection.sendall(CDR)
        assert received(connection, OK).startswith(b"HTTP/1.1 200 ")


def test_a_sender_that_asks_first_with_too_much_is_told_not_to(receiver: Receiver) -> None:
    with connected(receiver) as connection:
        connection.sendall(request(b"", "Expect: 100-continue", "Content-Length: 1000001", length=False))
        reply = received(connection)
    assert reply.startswith(b"HTTP/1.1 413 ")


def test_a_chunked_body_is_taken(receiver: Receiver, redis_url: str) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in (CDR[:5], CDR[5:6], CDR[6:]))
    with connected(receiver) as connection:
        connection.sendall(request(b"", "Transfer-Encoding: chunked", length=False) + chunks + b"0\r\n\r\n")
        assert received(connection, OK).startswith(b"HTTP/1.1 200 ")
    assert deliveries(redis_url)[0].fields == {"ivruniqueid": "x"}


def test_pipelined_posts_are_answered_in_their_order(receiver: Receiver, redis_url: str) -> None:
    bodies = [b'{"ivruniqueid": "%d"}' % number for number in range(20)]
    with connected(receiver) as connection:
        connection.sendall(b"".join(map(request, bodies)) + request(b"[]", "Connection: close"))
        replies = received(connection)
    assert (replies.count(OK), replies.count(b'"2"')) == (20, 1)
    assert [each.fields["ivruniqueid"] for each in deliveries(redis_url)] == [str(number) for number in range(20)]


def test_a_body_in_small_pieces_is_whole(receiver: Receiver, redis_url: str) -> None:
    with connected(receiver) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request(CDR):
            connection.sendall(bytes([byte]))
        assert received(connection, OK).startswith(b"HTTP/1.1 200 ")
    assert len(deliveries(redis_url)) == 1


def test_a_sender_that_hangs_up_amid_its_body_leaves_nothing(receiver: Receiver, redis_url: str) -> None:
    with connected(receiver) as connection:
        connection.sendall(request(CDR)[:-1])
    with connected(receiver) as connection:
        connection.sendall(request(CDR))
        received(connection, OK)
    assert len(jobs(redis_url)) == 1


@pytest.mark.parametrize("chunked", [False, True])
def test_a_sender_of_too_much_reads_why_once_it_has_sent_it(receiver: Receiver, chunked: bool) -> None:
    body = b"x" * 3_000_000
    with connected(receiver) as connection:
        if chunked:
            head = request(b"", "Transfer-Encoding: chunked", length=False)
            connection.sendall(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        else:
            connection.sendall(request(body))
        reply = received(connection)
    assert reply.startswith(b"HTTP/1.1 413 ")
    assert b'"err":"1"' in reply


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", b"\r\n\r\n\r\n\x00"]
)
def test_what_is_no_http_harms_nobody(receiver: Receiver, garbage: bytes) -> None:
    with connected(receiver) as connection, suppress(OSError):
        connection.sendall(garbage)
        connection.shutdown(socket.SHUT_WR)
        received(connection)
    with connected(receiver) as connection:
        connection.sendall(request(CDR))
        assert received(connection, OK).startswith(b"HTTP/1.1 200 ")


def post_until_refused(port: int, acked: list[str], name: str) -> None:
    """Post until the receiver takes no more, noting each id that was acked."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    with suppress(OSError, HTTPException):
        for number in range(100_000):
            connection.request("POST", ADDRESS, json.dumps({"ivruniqueid": f"{name}-{number}"}))
            reply = connection.getresponse()
            if reply.read() == OK:
                acked.append(f"{name}-{number}")
    connection.close()


def test_a_stop_amid_a_burst_loses_nothing_that_was_acked(redis_url: str, tmp_path: Path) -> None:
    acked: list[str] = []
    with receiver_process(redis_url, tmp_path) as receiver, ThreadPoolExecutor(8) as pool:
        senders = [pool.submit(post_until_refused, receiver.port, acked, str(name)) for name in range(8)]
        deadline = time.monotonic() + 60
        while len(acked) < 300 and time.monotonic() < deadline:
            time.sleep(0.01)
        code = receiver.stop()
        for sender in senders:
            sender.result()
    stored = {each.fields["ivruniqueid"] for each in deliveries(redis_url)}
    assert (code, len(acked) >= 300, set(acked) - stored) == (0, True, set())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(redis_url: str, tmp_path: Path, number: signal.Signals) -> None:
    with receiver_process(redis_url, tmp_path) as receiver:
        receiver.process.send_signal(number)
        assert receiver.process.wait(60) == 0
    assert "Traceback" not in receiver.log.read_text(encoding="utf-8")


class WithABug(Receiver):
    code = f"import api.group_commit; api.group_commit._jobs = None; {Receiver.code}"


def test_a_receiver_whose_writer_dies_ends_as_failed(redis_url: str, tmp_path: Path) -> None:
    receiver = WithABug(redis_url, tmp_path / "receiver.log", free_port())
    receiver.wait_until_up()
    with connected(receiver) as connection:
        connection.sendall(request(CDR))
        assert received(connection).startswith(b"HTTP/1.1 503 ")
    assert receiver.process.wait(60) == 1
    assert "the writer of group commits died" in receiver.log.read_text(encoding="utf-8")


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_no_log_line_holds_the_secret(redis_url: str, tmp_path: Path, log_format: str) -> None:
    with receiver_process(redis_url, tmp_path, CDR_LOG_FORMAT=log_format) as receiver:
        for body in (CDR, b"nonsense", b"", b"x" * 1_000_001):
            with connected(receiver) as connection:
                connection.sendall(request(body, "Connection: close"))
                received(connection)
        with connected(receiver) as connection:
            connection.sendall(f"BREW {ADDRESS} HTTP/1.1\r\n\r\n".encode())
            received(connection)
    log = receiver.log.read_text(encoding="utf-8")
    assert "receiver listens" in log
    assert SECRET not in log
    assert "only-for-tests" not in log


def test_two_receivers_share_an_address(redis_url: str, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "other").mkdir()
    with (
        receiver_process(redis_url, tmp_path, port, CDR_REUSE_PORT="1") as one,
        receiver_process(redis_url, tmp_path / "other", port, CDR_REUSE_PORT="1"),
    ):
        acked: list[str] = []
        for number in range(40):
            post_once(port, str(number), acked)
        one.stop()
        for number in range(40, 50):
            post_once(port, str(number), acked)
    assert len(acked) == 50
    assert {each.fields["ivruniqueid"] for each in deliveries(redis_url)} == set(acked)


def post_once(port: int, call_id: str, acked: list[str]) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", ADDRESS, json.dumps({"ivruniqueid": call_id}))
    if connection.getresponse().read() == OK:
        acked.append(call_id)
    connection.close()


def test_a_port_that_is_taken_is_told_by_its_variable(redis_url: str, receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    second = Receiver(redis_url, tmp_path / "other" / "receiver.log", receiver.port)
    assert second.process.wait(60) == 2
    assert "CDR_PORT: cannot listen on" in second.log.read_text(encoding="utf-8")


def test_port_0_is_any_free_port_and_is_told(redis_url: str, tmp_path: Path) -> None:
    receiver = Receiver(redis_url, tmp_path / "receiver.log", 0, CDR_LOG_FORMAT="json")
    receiver.wait_until_up()
    lines = [json.loads(line) for line in receiver.log.read_text(encoding="utf-8").splitlines()]
    receiver.port = next(line["port"] for line in lines if line["event"] == "receiver listens")
    with connected(receiver) as connection:
        connection.sendall(request(CDR))
        assert received(connection, OK).startswith(b"HTTP/1.1 200 ")
    assert receiver.stop() == 0


def test_a_missing_setting_is_told_by_its_variable(tmp_path: Path) -> None:
    receiver = Receiver("", tmp_path / "receiver.log", 0)
    assert receiver.process.wait(60) == 2
    assert "CDR_REDIS_URL: is required" in receiver.log.read_text(encoding="utf-8")


OFFERED = 400
LARGE_BYTES = 2_000_000


def memory_peak_bytes(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


async def status_of(port: int, body: bytes) -> bytes:
    """Post on a connection of its own and return the status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(body, "Connection: close"))
    reply = await reader.read()
    writer.close()
    return reply.split(b" ", 2)[1]


async def statuses(port: int, body: bytes) -> list[bytes]:
    return await asyncio.gather(*(status_of(port, body) for _ in range(OFFERED)))


def test_offered_more_than_it_can_hold_it_answers_every_request_and_stays_bounded(
    redis_url: str, tmp_path: Path
) -> None:
    body = b'{"ivruniqueid": "x", "text": "%b"}' % (b"y" * LARGE_BYTES)
    with receiver_process(
        redis_url, tmp_path, CDR_MAX_BODY_BYTES="3000000", CDR_SPOOL_DIR=str(tmp_path / "spool")
    ) as receiver:
        before = memory_peak_bytes(receiver.process.pid)
        answered = asyncio.run(statuses(receiver.port, body))
        grown = memory_peak_bytes(receiver.process.pid) - before
        with connected(receiver) as connection:
            connection.sendall(request(CDR))
            assert received(connection, OK).startswith(b"HTTP/1.1 200 ")
    assert set(answered) == {b"200", b"503"}
    assert len(answered) == OFFERED
    assert grown < OFFERED * LARGE_BYTES


def test_what_is_no_http_fills_no_log(receiver: Receiver) -> None:
    for _ in range(50):
        with connected(receiver) as connection, suppress(OSError):
            connection.sendall(b"nonsense\r\n\r\n")
            received(connection)
    assert receiver.log.read_text(encoding="utf-8").count("Invalid HTTP") == 0
