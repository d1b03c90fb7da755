"""What the receiver's HTTP takes and refuses, byte by byte, whichever of its two parsers reads it."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
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
from receiving import SECRET, deliveries, jobs

from cdr.bounded_http import MAX_HEAD_BYTES
from cdr.connection_deadlines import IDLE_SECONDS as IDLE_LONG
from cdr.connection_deadlines import IDLE_SECONDS_OF_MANY
from cdr.embedded_valkey import EmbeddedValkey

__all__ = ["kept_receiver", "receiver"]

OFFER = ("Connection: Upgrade", "Upgrade: h2c")


def cdr(call_id: str) -> bytes:
    """A CDR as they usually are, with more fields than one who only tries the address sends."""
    return json.dumps({"ivruniqueid": call_id, "type": "Incoming Call", "status": "ANSWER", "duration": 3}).encode()


def call_ids(redis_url: str) -> list[str]:
    return [each.fields["ivruniqueid"] for each in deliveries(redis_url)]


def replies(connection: socket.socket, count: int) -> bytes:
    data = b""
    while data.count(OK) < count:
        chunk = connection.recv(65536)
        assert chunk, data
        data += chunk
    return data


HASTE_SECONDS = 1.0


class Hasty(Receiver):
    """Waits for a head no longer than HASTE_SECONDS, and for as long as a test lasts where nothing has come of one."""

    code = (
        f"from cdr import connection_deadlines; connection_deadlines.HEAD_SECONDS = {HASTE_SECONDS};"
        f"connection_deadlines.IDLE_SECONDS = 600; {Receiver.code}"
    )


def kept(kind: type[Receiver], valkey: EmbeddedValkey, folders: pytest.TempPathFactory) -> Iterator[Receiver]:
    receiver = kind(valkey.url(), folders.mktemp(kind.__name__) / "receiver.log", free_port())
    try:
        receiver.wait_until_up()
        yield receiver
    finally:
        receiver.stop()


@pytest.fixture(scope="module")
def hasty(valkey_server: EmbeddedValkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    yield from kept(Hasty, valkey_server, tmp_path_factory)


IDLE_SECONDS = 3.0


class Idle(Receiver):
    """Closes a connection that has been idle for IDLE_SECONDS."""

    code = f"from cdr import connection_deadlines; connection_deadlines.IDLE_SECONDS = {IDLE_SECONDS}; {Receiver.code}"


@pytest.fixture(scope="module")
def idle(valkey_server: EmbeddedValkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    yield from kept(Idle, valkey_server, tmp_path_factory)


def test_a_connection_is_closed_once_it_has_been_idle_for_long_and_not_before(idle: Receiver, redis_url: str) -> None:
    with connected(idle) as connection:
        for number in range(5):
            connection.sendall(request(cdr(str(number))))
            replies(connection, 1)
            answered_at = time.monotonic()
            time.sleep(1 if number < 4 else 0)
        assert received(connection) == b""
        assert time.monotonic() - answered_at > 0.9 * IDLE_SECONDS
    assert len(call_ids(redis_url)) == 5


# What each way of answering leaves on a connection: the usual one, uvicorn's, and that of the careful protocol.
ANSWERED = {
    "a usual post": request(cdr("first")),
    "a post of two CDRs": request(b"[" + cdr("first") + b"," + cdr("second") + b"]"),
    "an offer": request(cdr("first"), *OFFER),
}


class Crowded(Receiver):
    """Has many connections as soon as it has one."""

    code = (
        "from cdr import connection_deadlines as deadlines; deadlines.MANY_CONNECTIONS = 0;"
        f"deadlines.IDLE_SECONDS = 600; deadlines.IDLE_SECONDS_OF_MANY = 0.5; {Receiver.code}"
    )


@pytest.fixture(scope="module")
def crowded(valkey_server: EmbeddedValkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    yield from kept(Crowded, valkey_server, tmp_path_factory)


@pytest.mark.parametrize("first", ANSWERED.values(), ids=ANSWERED)
def test_of_many_connections_each_is_closed_soon(crowded: Receiver, first: bytes) -> None:
    with connected(crowded) as connection:
        connection.sendall(first)
        replies(connection, 1)
        assert received(connection) == b""


def test_a_connection_outlives_the_longest_pause_of_a_proxy(receiver: Receiver) -> None:
    with connected(receiver) as connection:
        for pause in (0.0, 1.5 * IDLE_SECONDS_OF_MANY):
            time.sleep(pause)
            connection.sendall(request(cdr("x")))
            replies(connection, 1)
    # Google's load balancers keep theirs for ten minutes.
    assert IDLE_LONG > 600


def test_a_connection_on_which_a_post_is_coming_is_not_idle(idle: Receiver, redis_url: str) -> None:
    with connected(idle) as connection:
        connection.sendall(request(cdr("first")))
        replies(connection, 1)
        slow = request(cdr("slow"))
        connection.sendall(slow[:-5])
        time.sleep(1.5 * IDLE_SECONDS)
        connection.sendall(slow[-5:])
        replies(connection, 1)
    assert call_ids(redis_url) == ["first", "slow"]


@pytest.mark.parametrize("pieces", [1, 2, 7], ids=lambda count: f"in {count} pieces")
def test_a_usual_post_is_taken_however_it_is_cut(receiver: Receiver, redis_url: str, pieces: int) -> None:
    with connected(receiver) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(3):
            sent = request(cdr(str(number)), "Content-Type: application/json")
            size = -(-len(sent) // pieces)
            for start in range(0, len(sent), size):
                connection.sendall(sent[start : start + size])
                time.sleep(0.02)
            assert replies(connection, 1).startswith(b"HTTP/1.1 200 ")
    assert call_ids(redis_url) == ["0", "1", "2"]


def test_an_answer_has_a_date_its_length_and_no_more_than_it_needs(receiver: Receiver) -> None:
    with connected(receiver) as connection:
        connection.sendall(request(cdr("x")))
        head, _, body = replies(connection, 1).partition(b"\r\n\r\n")
    names = [line.split(b":")[0] for line in head.split(b"\r\n")[1:]]
    assert (sorted(names), body) == ([b"content-length", b"content-type", b"date"], OK)
    assert f"content-length: {len(OK)}".encode() in head


@pytest.mark.parametrize(("version", "header"), [("1.0", "X: y"), ("1.1", "Connection: close")])
def test_the_connection_is_closed_after_the_answer_when_that_is_asked_for(
    hasty: Receiver, redis_url: str, version: str, header: str
) -> None:
    with connected(hasty) as connection:
        connection.sendall(request(cdr("x"), header, version=version))
        reply = received(connection)
    assert reply.endswith(OK)
    assert b"connection: close\r\n" in reply


def test_usual_and_unusual_posts_on_one_connection_are_answered_in_their_order(
    receiver: Receiver, redis_url: str
) -> None:
    posts = [
        request(cdr("usual")),
        request(b"[" + cdr("array") + b"]"),
        request(b"no body"),
        request(cdr("usual too")),
        request(cdr("unusual"), "Content-Type: text/plain", "Content-Type: text/html"),
        request(cdr("last"), "Connection: close"),
    ]
    with connected(receiver) as connection:
        connection.sendall(b"".join(posts))
        data = received(connection)
    answers = [part.partition(b"\r\n\r\n")[2] for part in data.split(b"HTTP/1.1 200 OK")[1:]]
    assert [json.loads(answer)["err"] for answer in answers] == ["0", "0", "1", "0", "0", "0"]
    assert call_ids(redis_url) == ["usual", "array", "usual too", "unusual", "last"]


def test_an_offer_behind_other_posts_waits_its_turn_and_what_follows_is_taken_too(
    receiver: Receiver, redis_url: str
) -> None:
    with connected(receiver) as connection:
        connection.sendall(request(cdr("a")) + request(b"[" + cdr("b") + b"]") + request(cdr("c"), *OFFER))
        data = replies(connection, 3)
        connection.sendall(request(cdr("d")) + request(cdr("e"), "Connection: close"))
        data += received(connection)
    assert data.count(b"HTTP/1.1 200 ") == 5
    assert call_ids(redis_url) == ["a", "b", "c", "d", "e"]


def test_the_body_of_an_offer_may_come_later(receiver: Receiver, redis_url: str) -> None:
    body = cdr("late")
    with connected(receiver) as connection:
        connection.sendall(request(body, *OFFER).removesuffix(body))
        time.sleep(0.1)
        connection.sendall(body)
        replies(connection, 1)
    assert call_ids(redis_url) == ["late"]


@pytest.mark.parametrize("garbage", [b"garbage\r\n\r\n", b"POST\r\n\r\n", b"\x00\x01"])
def test_what_came_whole_before_garbage_has_its_answer(receiver: Receiver, redis_url: str, garbage: bytes) -> None:
    with connected(receiver) as connection:
        connection.sendall(request(cdr("x")) + garbage)
        assert replies(connection, 1).startswith(b"HTTP/1.1 200 ")
    assert call_ids(redis_url) == ["x"]


def test_half_a_head_holds_a_connection_no_longer_than_bounded(hasty: Receiver) -> None:
    with connected(hasty) as connection:
        began = time.monotonic()
        connection.sendall(b"POST /cdr/x HT")
        assert received(connection) == b""
        assert time.monotonic() - began > HASTE_SECONDS / 2


@pytest.mark.parametrize("first", [(), OFFER], ids=["fast", "careful"])
def test_a_connection_in_use_outlives_the_deadline_of_a_head_and_a_half_head_does_not(
    hasty: Receiver, redis_url: str, first: tuple[str, ...]
) -> None:
    with connected(hasty) as connection:
        connection.sendall(request(cdr("0"), *first))
        replies(connection, 1)
        for number in range(1, 6):
            time.sleep(0.4)
            connection.sendall(request(cdr(str(number))))
            replies(connection, 1)
        connection.sendall(b"POST /cdr/x HT")
        assert received(connection) == b""


def send_slowly(connection: socket.socket, piece: bytes, times: int) -> None:
    for _ in range(times):
        connection.sendall(piece)
        time.sleep(0.001)


def test_a_head_without_end_in_small_pieces_is_refused(receiver: Receiver) -> None:
    line = b"x-a: " + b"b" * 1000 + b"\r\n"
    with connected(receiver) as connection:
        connection.sendall(b"POST /cdr HTTP/1.1\r\nHost: receiver.invalid\r\n")
        with pytest.raises(ConnectionError):
            send_slowly(connection, line, 20 * MAX_HEAD_BYTES // len(line))


def test_trailers_are_left_out_and_harm_nobody(receiver: Receiver, redis_url: str) -> None:
    body = cdr("chunked")
    chunks = b"%x\r\n%b\r\n0\r\n" % (len(body), body) + 1000 * b"Content-Encoding: gzip\r\n" + b"\r\n"
    with connected(receiver) as connection:
        connection.sendall(request(b"", "Transfer-Encoding: chunked", length=False) + chunks + request(cdr("next")))
        replies(connection, 2)
    assert call_ids(redis_url) == ["chunked", "next"]


@pytest.mark.parametrize("target", [b"/cdr/%s/", b"/cdr/%s?x=1", b"http://receiver.invalid/cdr/%s"])
def test_the_address_may_be_written_in_other_ways(receiver: Receiver, redis_url: str, target: bytes) -> None:
    sent = request(cdr("x")).split(b" ", 2)
    with connected(receiver) as connection:
        connection.sendall(b" ".join([sent[0], target % SECRET.encode(), sent[2]]))
        replies(connection, 1)
    assert call_ids(redis_url) == ["x"]


@pytest.mark.parametrize("path", [b"/cdr/wrong-secret-that-is-long", b"/cdr", b"/other", b"/cdr/%ff", b"/\xff"])
def test_a_wrong_address_takes_nothing(receiver: Receiver, redis_url: str, path: bytes) -> None:
    sent = request(cdr("x"), "Connection: close").split(b" ", 2)
    with connected(receiver) as connection:
        connection.sendall(b" ".join([sent[0], path, sent[2]]))
        assert received(connection).split(b" ")[1] in {b"404", b"400"}
    assert jobs(redis_url) == []


def test_a_sender_that_does_not_wait_for_its_answer_harms_nobody(receiver: Receiver, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        # Nothing is written while the senders hang up.
        client.client_pause(500)
        for number in range(20):
            with connected(receiver) as connection:
                connection.sendall(request(cdr(f"gone {number}")))
    with connected(receiver) as connection:
        connection.sendall(request(cdr("last")))
        replies(connection, 1)
    assert set(call_ids(redis_url)) == {"last", *(f"gone {number}" for number in range(20))}


def test_a_stop_answers_what_was_taken_and_closes(redis_url: str, tmp_path: Path) -> None:
    with receiver_process(redis_url, tmp_path) as receiver, redis.Redis.from_url(redis_url) as client:
        with connected(receiver) as connection:
            connection.sendall(request(cdr("before")))
            replies(connection, 1)
            client.client_pause(1000)
            connection.sendall(request(cdr("x")))
            time.sleep(0.2)
            receiver.process.send_signal(signal.SIGTERM)
            reply = received(connection)
        assert reply.endswith(OK)
        assert receiver.process.wait(60) == 0
    assert call_ids(redis_url) == ["before", "x"]


def test_while_the_receiver_is_asked_for_its_metrics_usual_posts_are_counted(redis_url: str, tmp_path: Path) -> None:
    with receiver_process(redis_url, tmp_path) as receiver, connected(receiver) as connection:
        connection.sendall(request(cdr("x")))
        replies(connection, 1)
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: receiver.invalid\r\nConnection: close\r\n\r\n")
        text = received(connection).decode()
    assert 'cdr_received_total{format="json",result="stored"} 1.0' in text
    assert "cdr_ack_seconds_count 1.0" in text


def test_a_cdr_that_is_small_is_no_probe_by_its_size(receiver: Receiver, redis_url: str) -> None:
    with connected(receiver) as connection:
        connection.sendall(request(CDR) + request(b'{"test": true}'))
        replies(connection, 2)
    assert call_ids(redis_url) == ["x"]
