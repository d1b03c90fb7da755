"""Every failure has an answer, and every answer is well-formed in each of the sender's formats."""

from __future__ import annotations

import json
import xmlrpc.client
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.acknowledge import READY, STORED, Answer, Response, answer_to, render
from common import errors
from common.errors import CdrError

FORMATS = ["json", "xmlrpc", "form"]


def failures(root: type[CdrError] = CdrError) -> Iterator[type[CdrError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from failures(child)


def members(body_format: str, body: bytes) -> dict[str, Any]:
    """Read a reply as the provider would."""
    if body_format == "json":
        return dict(json.loads(body))
    if body_format == "form":
        return {name: values[0] for name, values in parse_qs(body.decode("ascii"), keep_blank_values=True).items()}
    (struct,), method = xmlrpc.client.loads(body)
    assert method is None
    assert isinstance(struct, dict)
    return struct


def header(response: Response, name: bytes) -> bytes | None:
    return dict(response.headers).get(name)


@pytest.mark.parametrize("failure", list(failures()))
def test_every_failure_has_an_answer_that_is_no_server_error(failure: type[CdrError]) -> None:
    answer = answer_to(failure("why"))
    assert answer.status in {200, 408, 413, 503}
    assert answer.err in {1, 2}


@pytest.mark.parametrize("failure", [each for each in failures() if not issubclass(each, errors.Rejected)])
def test_what_is_not_the_senders_fault_is_to_be_sent_again_and_not_explained(failure: type[CdrError]) -> None:
    assert answer_to(failure("the password is x"))[:4] == Answer(503, 2, "try again")[:4]


@pytest.mark.parametrize(
    ("failure", "status", "err"),
    [
        (errors.Unreadable, 200, 1),
        (errors.Rejected, 200, 1),
        (errors.NotACdr, 200, 2),
        (errors.TooLarge, 413, 1),
        (errors.TooSlow, 408, 2),
    ],
)
def test_the_senders_fault_is_told_with_its_reason(failure: type[CdrError], status: int, err: int) -> None:
    assert answer_to(failure("what and where"))[:3] == (status, err, "what and where")


def test_stored_reads_in_json_as_the_specification_shows_it() -> None:
    assert json.loads(render(STORED, "json").body) == {"err": "0", "errdesc": "OK"}


def test_stored_reads_in_xmlrpc_as_the_specification_shows_it() -> None:
    assert members("xmlrpc", render(STORED, "xmlrpc").body) == {"err": 0, "errdesc": "OK"}


def test_stored_reads_as_a_form() -> None:
    assert render(STORED, "form").body == b"err=0&errdesc=OK"


def test_ready_is_plain_text() -> None:
    response = render(READY, "plain")
    assert (response.status, response.body, header(response, b"content-type")) == (
        200,
        b"ready",
        b"text/plain; charset=utf-8",
    )


@given(st.text(st.characters(exclude_categories=())))
@pytest.mark.parametrize("body_format", FORMATS)
def test_any_text_in_errdesc_makes_a_well_formed_reply(body_format: str, text: str) -> None:
    reply = members(body_format, render(Answer(200, 1, text), body_format).body)
    assert reply["err"] == (1 if body_format == "xmlrpc" else "1")
    assert isinstance(reply.get("errdesc", ""), str)


@pytest.mark.parametrize("body_format", FORMATS)
def test_a_plain_errdesc_arrives_as_it_is(body_format: str) -> None:
    text = 'no <XML> & "quotes" 100% a+b=c; שלום 😀'
    assert members(body_format, render(Answer(200, 1, text), body_format).body)["errdesc"] == text


@pytest.mark.parametrize("character", ["\x00", "\x0b", "\ud800", "\ufffe", "\uffff"])
def test_what_xml_cannot_hold_becomes_another_character(character: str) -> None:
    reply = members("xmlrpc", render(Answer(200, 1, f"a{character}b"), "xmlrpc").body)
    assert reply["errdesc"] in {"a\ufffdb", "a?b"}


@pytest.mark.parametrize("body_format", FORMATS)
def test_a_long_errdesc_is_cut(body_format: str) -> None:
    reply = members(body_format, render(Answer(200, 1, "x" * 10_000), body_format).body)
    assert reply["errdesc"] == "x" * 500


@pytest.mark.parametrize("body_format", [*FORMATS, "plain"])
@pytest.mark.parametrize("answer", [STORED, Answer(503, 2, "try again"), Answer(200, 1, "ש")])
def test_the_length_is_that_of_the_body(body_format: str, answer: Answer) -> None:
    response = render(answer, body_format)
    assert header(response, b"content-length") == str(len(response.body)).encode()


@pytest.mark.parametrize(
    ("body_format", "content_type"),
    [
        ("json", b"application/json"),
        ("xmlrpc", b"text/xml; charset=utf-8"),
        ("form", b"application/x-www-form-urlencoded"),
    ],
)
@pytest.mark.parametrize("answer", [STORED, Answer(200, 1, "why")])
def test_the_content_type_is_the_formats(body_format: str, content_type: bytes, answer: Answer) -> None:
    assert header(render(answer, body_format), b"content-type") == content_type


@pytest.mark.parametrize("body_format", FORMATS)
def test_try_again_says_when(body_format: str) -> None:
    assert header(render(Answer(503, 2, "try again"), body_format), b"retry-after") == b"10"


@pytest.mark.parametrize("answer", [STORED, Answer(200, 1, "why"), Answer(413, 1, "why")])
def test_nothing_else_says_when_to_come_again(answer: Answer) -> None:
    assert header(render(answer, "json"), b"retry-after") is None


@pytest.mark.parametrize("failure", [errors.TooLarge, errors.TooSlow, errors.TooBusy])
def test_a_body_that_was_not_read_to_its_end_closes_the_connection(failure: type[CdrError]) -> None:
    assert header(render(answer_to(failure("why")), "json"), b"connection") == b"close"


@pytest.mark.parametrize("failure", [errors.Unreadable, errors.NotACdr, errors.SpoolUnavailable])
def test_a_body_that_was_read_leaves_the_connection_open(failure: type[CdrError]) -> None:
    assert header(render(answer_to(failure("why")), "json"), b"connection") is None


DEBUG = {
    "text": "<שלום>",
    "number": 7,
    "huge": 10**30,
    "fraction": Decimal("7.10"),
    "yes": True,
    "nothing": None,
    "list": [1, "a", [True]],
    "object": {"a&b": {"c": Decimal("1E+5")}},
}


def test_debug_members_arrive_in_json() -> None:
    reply = json.loads(render(STORED._replace(more={"origrequest": DEBUG}), "json").body, parse_float=Decimal)
    assert reply == {"err": "0", "errdesc": "OK", "origrequest": DEBUG}


def test_debug_members_arrive_in_xmlrpc() -> None:
    reply = members("xmlrpc", render(STORED._replace(more={"origrequest": DEBUG}), "xmlrpc").body)
    assert reply["origrequest"] == {**DEBUG, "fraction": 7.1}


def test_debug_members_arrive_in_a_form_as_json() -> None:
    reply = members("form", render(STORED._replace(more={"origrequest": DEBUG, "got": "x"}), "form").body)
    assert json.loads(reply["origrequest"], parse_float=Decimal) == DEBUG
    assert reply["got"] == "x"
