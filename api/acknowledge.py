"""Every reply of the receiver, in the sender's format, and the only map from our errors to codes and HTTP statuses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlencode
from xml.sax.saxutils import escape

import msgspec

from common.errors import CdrError, NotACdr, Rejected, TooBusy, TooLarge, TooSlow

OK, PARSE_ERROR, APPLICATION_ERROR = 0, 1, 2
RETRY_AFTER_SECONDS = 10
TRY_AGAIN = "try again"
_MAX_DESCRIPTION = 500
_CONTENT_TYPES = {
    "json": "application/json",
    "xmlrpc": "text/xml; charset=utf-8",
    "form": "application/x-www-form-urlencoded",
    "plain": "text/plain; charset=utf-8",
}
# What XML 1.0 cannot hold, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_encode_json = msgspec.json.Encoder(decimal_format="number").encode


class Answer(NamedTuple):
    """What to tell the sender: the HTTP status, the code and its text, and more members when debugging.

    With `closes` the rest of the body was not read, so the connection cannot be used again.
    """

    status: int
    err: int
    errdesc: str
    more: Mapping[str, Any] = {}
    closes: bool = False


STORED = Answer(200, OK, "OK")
READY = Answer(200, OK, "ready")


def answer_to(error: CdrError) -> Answer:
    """Say what the sender is told of a failure: this is the whole map."""
    match error:
        case TooLarge():
            return Answer(413, PARSE_ERROR, str(error), closes=True)
        case TooSlow():
            return Answer(408, APPLICATION_ERROR, str(error), closes=True)
        case TooBusy():
            return Answer(503, APPLICATION_ERROR, TRY_AGAIN, closes=True)
        case NotACdr():
            return Answer(200, APPLICATION_ERROR, str(error))
        case Rejected():
            return Answer(200, PARSE_ERROR, str(error))
        case _:
            return Answer(503, APPLICATION_ERROR, TRY_AGAIN)


class Response(NamedTuple):
    """An answer as HTTP: the status, the headers and the body."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def render(answer: Answer, body_format: str) -> Response:
    """Write an answer as json, xmlrpc or form, or its text alone as plain."""
    if answer is STORED:
        return _STORED[body_format]
    body = _BODIES[body_format](_members(answer))
    headers = [(b"content-type", _CONTENT_TYPES[body_format].encode()), (b"content-length", str(len(body)).encode())]
    if answer.status == 503:
        headers.append((b"retry-after", str(RETRY_AFTER_SECONDS).encode()))
    if answer.closes:
        headers.append((b"connection", b"close"))
    return Response(answer.status, tuple(headers), body)


def _members(answer: Answer) -> dict[str, Any]:
    # A lone surrogate, which a message may quote from what was sent, has no bytes.
    text = answer.errdesc[:_MAX_DESCRIPTION].encode("utf-8", "replace").decode()
    return {"err": answer.err, "errdesc": text, **answer.more}


def _json_body(members: dict[str, Any]) -> bytes:
    # The specification shows err as a string in JSON and as an int in XML-RPC.
    return _encode_json({**members, "err": str(members["err"])})


def _form_body(members: dict[str, Any]) -> bytes:
    return urlencode(
        {name: value if isinstance(value, str | int) else _encode_json(value) for name, value in members.items()}
    ).encode()


def _plain_body(members: dict[str, Any]) -> bytes:
    return str(members["errdesc"]).encode()


def _xmlrpc_body(members: dict[str, Any]) -> bytes:
    value = _xmlrpc_value(members)
    return f'<?xml version="1.0"?>\n<methodResponse><params><param>{value}</param></params></methodResponse>'.encode()


def _xmlrpc_value(value: Any) -> str:
    match value:
        case bool():
            return f"<value><boolean>{value:d}</boolean></value>"
        case int():
            return f"<value><int>{value}</int></value>"
        case None:
            return "<value><nil/></value>"
        case Mapping():
            members = "".join(
                f"<member><name>{_xml_text(name)}</name>{_xmlrpc_value(item)}</member>" for name, item in value.items()
            )
            return f"<value><struct>{members}</struct></value>"
        case list():
            return f"<value><array><data>{''.join(map(_xmlrpc_value, value))}</data></array></value>"
        case Decimal():
            return f"<value><double>{value:f}</double></value>"
        case _:
            return f"<value><string>{_xml_text(str(value))}</string></value>"


def _xml_text(text: str) -> str:
    return escape(_NOT_XML.sub("\ufffd", text))


_BODIES = {"json": _json_body, "xmlrpc": _xmlrpc_body, "form": _form_body, "plain": _plain_body}
_STORED = {
    name: Response(
        STORED.status,
        ((b"content-type", _CONTENT_TYPES[name].encode()), (b"content-length", str(len(body)).encode())),
        body,
    )
    for name, body in ((name, write(_members(STORED))) for name, write in _BODIES.items())
}
