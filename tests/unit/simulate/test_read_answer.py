from __future__ import annotations

import pytest

from cdr.post_cdr import Answer, Poster, read_answer, receiver_url
from common.errors import ConfigurationError

XMLRPC = (
    "<?xml version='1.0'?><{tag}><params><param><value><struct>"
    "<member><name>err</name><value><int>2</int></value></member>"
    "<member><name>errdesc</name><value><string>no &lt;call&gt;{end}string></value></member>"
    "</struct></value></param></params></{tag}>"
)


@pytest.mark.parametrize(
    ("body", "err", "errdesc"),
    [
        ('{"err": "0", "errdesc": "OK"}', 0, "OK"),
        ('{"err": 1, "errdesc": "here"}', 1, "here"),
        ('{"errdesc": "OK"}', None, "OK"),
        ('{"err": "none"}', None, ""),
        ("{broken", None, ""),
        (XMLRPC.format(tag="methodResponse", end="</"), 2, "no <call>"),
        (XMLRPC.format(tag="methodresponse", end="\n"), 2, "no <call>\nstring>"),
        ("<methodResponse><name>err</name><value>0</value></methodResponse>", 0, ""),
        ("<html>hello</html>", None, ""),
        ("err=0&errdesc=OK", 0, "OK"),
        ("err=2&errdesc=try+again", 2, "try again"),
        ("thanks", None, ""),
        ("", None, ""),
    ],
)
def test_err_is_read_in_the_format_of_the_answer(body: str, err: int | None, errdesc: str) -> None:
    answer = read_answer(200, body.encode())
    assert answer == Answer(200, err, errdesc, body)


@pytest.mark.parametrize(
    ("answer", "taken", "stored"),
    [
        (Answer(200, 0, "OK", ""), True, True),
        (Answer(200, 1, "parse", ""), True, False),
        (Answer(200, None, "", ""), True, False),
        (Answer(503, 0, "", ""), False, False),
        (Answer(0, None, "timed out", ""), False, False),
    ],
)
def test_only_http_200_is_taken_and_only_err_0_is_stored(answer: Answer, taken: bool, stored: bool) -> None:
    assert (answer.taken, answer.stored) == (taken, stored)


@pytest.mark.parametrize(
    "url", ["", "receiver", "ftp://127.0.0.1/cdr/hush", "http://", "http://127.0.0.1:x/hush", "http://[::1/hush"]
)
def test_an_address_that_cannot_be_posted_to_is_refused_without_telling_its_secret(url: str) -> None:
    with pytest.raises(ConfigurationError, match="receiver's address") as caught:
        Poster(url)
    assert "hush" not in str(caught.value)


def test_the_given_address_comes_before_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDR_RECEIVER_URL", "http://127.0.0.1:1/cdr/environment")
    assert receiver_url("http://127.0.0.1:1/cdr/given") == "http://127.0.0.1:1/cdr/given"
    assert receiver_url(None) == "http://127.0.0.1:1/cdr/environment"


def test_no_address_at_all_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CDR_RECEIVER_URL", raising=False)
    with pytest.raises(ConfigurationError, match="CDR_RECEIVER_URL: is required"):
        receiver_url(None)


def test_a_wrong_address_in_the_environment_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDR_RECEIVER_URL", "file:///cdr/hush")
    with pytest.raises(ConfigurationError, match="CDR_RECEIVER_URL: the receiver's address") as caught:
        receiver_url(None)
    assert "hush" not in str(caught.value)
