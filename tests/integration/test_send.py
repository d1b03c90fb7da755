from __future__ import annotations

import json
import socket
import xmlrpc.client
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs

import pytest
from fake_receiver import Reply, fake_receiver

from cdr.post_cdr import post
from cdr.send import run_send
from common.errors import ConfigurationError

CDR = {"caller": "0540000000", "time": 1536855354, "ivruniqueid": "20180913161553x", "type": "Queue", "did": "שלום"}
XMLRPC = xmlrpc.client.dumps((CDR,), "CDR").encode()


@pytest.fixture
def cdr_file(tmp_path: Path) -> Path:
    file = tmp_path / "one.json"
    file.write_text(json.dumps(CDR), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b' \n {"ivruniqueid": "x"}', "application/json"),
        (b'\xef\xbb\xbf[{"ivruniqueid": "x"}]', "application/json"),
        (XMLRPC, "text/xml"),
        (b"ivruniqueid=x&time=1", "application/x-www-form-urlencoded"),
        (b"", "application/x-www-form-urlencoded"),
    ],
)
def test_a_file_goes_out_byte_for_byte(tmp_path: Path, body: bytes, content_type: str) -> None:
    file = tmp_path / "cdr"
    file.write_bytes(body)
    with fake_receiver() as receiver:
        assert run_send([file], receiver.url, None) == 0
    assert receiver.requests == [("/cdr/a-secret-of-a-test", content_type, body)]


def test_each_answer_is_told(cdr_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replies = [Reply(), Reply(err=1, errdesc="parse error"), Reply(503, 2, "try again"), Reply(500, text="oops")]
    with fake_receiver(lambda number, _request: replies[number]) as receiver:
        assert run_send([cdr_file] * 4, receiver.url, None) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{cdr_file}: HTTP 200 err 0 OK",
        f"{cdr_file}: HTTP 200 err 1 parse error",
        f"{cdr_file}: HTTP 503 err 2 try again",
        f"{cdr_file}: HTTP 500",
    ]


def test_the_address_may_come_from_the_environment(cdr_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_receiver() as receiver:
        monkeypatch.setenv("CDR_RECEIVER_URL", receiver.url)
        assert run_send([cdr_file], None, None) == 0
    assert len(receiver.requests) == 1


def test_nobody_listening_is_told_without_the_secret(cdr_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with fake_receiver() as receiver:
        url = receiver.url
    assert run_send([cdr_file], url, None) == 1
    output = capsys.readouterr()
    assert output.out == f"{cdr_file}: no answer: cannot connect\n"
    assert "secret" not in output.out + output.err


def test_an_answer_that_does_not_come_is_a_timeout() -> None:
    with fake_receiver(lambda _number, _request: Reply(delay_seconds=30)) as receiver:
        answer = post(receiver.url, b"{}", "application/json", timeout=0.1)
    assert (answer.http_status, answer.err, answer.errdesc) == (0, None, "timed out")


def test_a_connection_that_is_closed_in_between_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.close()

        thread = Thread(target=hang_up)
        thread.start()
        answer = post(f"http://127.0.0.1:{listener.getsockname()[1]}/", b"{}", "application/json")
        thread.join()
    assert answer.http_status == 0
    assert answer.errdesc.startswith("connection lost")


def test_a_missing_file_is_wrong_usage_and_nothing_is_sent(
    cdr_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with fake_receiver() as receiver:
        assert run_send([cdr_file, tmp_path / "missing"], receiver.url, None) == 2
    assert receiver.requests == []
    assert "missing" in capsys.readouterr().err


@pytest.mark.parametrize(("url", "body_format"), [(None, None), ("nonsense", None), ("http://127.0.0.1:1/", "yaml")])
def test_a_wrong_address_or_format_is_wrong_usage(
    cdr_file: Path, url: str | None, body_format: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CDR_RECEIVER_URL", raising=False)
    with pytest.raises(ConfigurationError):
        run_send([cdr_file], url, body_format)


@pytest.mark.parametrize("body", [json.dumps(CDR).encode(), XMLRPC])
def test_a_file_of_any_format_is_sent_in_another(tmp_path: Path, body: bytes) -> None:
    file = tmp_path / "cdr"
    file.write_bytes(body)
    with fake_receiver() as receiver:
        assert [run_send([file], receiver.url, name) for name in ("json", "xmlrpc", "form")] == [0, 0, 0]
    as_json, as_xmlrpc, as_form = (request.body for request in receiver.requests)
    assert json.loads(as_json) == CDR
    assert xmlrpc.client.loads(as_xmlrpc) == ((CDR,), "CDR")
    assert parse_qs(as_form.decode()) == {name: [str(value)] for name, value in CDR.items()}


def test_each_cdr_of_an_array_is_posted_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "array.json"
    file.write_text(json.dumps([CDR, 5, CDR | {"type": "XferCDR"}]), encoding="utf-8")
    with fake_receiver() as receiver:
        assert run_send([file], receiver.url, "xmlrpc") == 1
    assert len(receiver.requests) == 2
    first, bad, last = capsys.readouterr().out.splitlines()
    assert (first, last) == (f"{file}[0]: HTTP 200 err 0 OK", f"{file}[2]: HTTP 200 err 0 OK")
    assert bad.startswith(f"{file}[1]: not sent: ")


def test_a_file_that_cannot_be_read_as_a_cdr_is_not_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "broken"
    file.write_bytes(b"<methodCall><unclosed>")
    with fake_receiver() as receiver:
        assert run_send([file], receiver.url, "json") == 1
    assert receiver.requests == []
    assert capsys.readouterr().out.startswith(f"{file}: not sent: ")
