"""One post: its bytes and what came with them, and what of them goes into a job."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from api.kept_request import ELSEWHERE, kept_headers
from common.cdr import find_call_id, holds_call_id
from common.delivery import Delivery, QuarantinedBody
from common.errors import NotACdr, Rejected
from common.field_names import fold_name
from common.wire import BadElement, Element, Fields, Message, decompress, guess_format

encode = msgspec.json.Encoder(decimal_format="number").encode
_PROBES = frozenset({"test", "ping"})
_LONGEST_PROBE = 64
_WITH_FIRST = "with the first bad element of the same post"


class Post(NamedTuple):
    """One request as far as it is read: who sent it, when (microseconds since the epoch), and the bytes.

    `is_inflated` tells that no Content-Encoding is left to undo: it was undone, or the bytes are a query, which has none.
    """

    account: str
    received_at_us: int
    delivery_id: str
    scope: Any
    body: bytes
    is_inflated: bool = False


def decompressed(post: Post, scope: Any, limit: int) -> Post:
    """Return the post with the bytes that the parser is to see; raises TooLarge or Unreadable."""
    encoding = text_header(scope, b"content-encoding")
    if encoding is None:
        return post
    return post._replace(body=decompress(post.body, encoding, limit), is_inflated=True)


def delivery(post: Post, body_format: str, place: int, element: Element) -> bytes:
    """Encode one CDR for its job; raises NotACdr when it holds no call id."""
    if isinstance(element, BadElement):
        raise NotACdr(element.error)
    if not holds_call_id(element.fields):
        try:
            find_call_id(element.fields)
        except NotACdr as error:
            # The quarantine keeps an element as it was read, so what reading it cost is told with it.
            raise NotACdr("; ".join([str(error), *element.notes])) from None
    return encode(
        Delivery(post.delivery_id, place, post.received_at_us, post.account, body_format, element.fields, element.notes)
    )


def element_text(post: Post, message: Message, element: Element) -> bytes:
    """Return what the quarantine keeps of an element: the body as it came, or of an array the element's JSON."""
    if not message.is_array:
        return post.body
    return element.text if isinstance(element, BadElement) else encode(element.fields)


def quarantined(post: Post, body_format: str, error: Rejected, body: bytes, *, is_first: bool = True) -> bytes:
    """Encode an entry for the quarantine.

    The headers are kept once a post, with its first entry: the others, whose time of receipt is the same, only say so.
    """
    headers = kept_headers(post.scope, is_inflated=post.is_inflated) if is_first else {ELSEWHERE: _WITH_FIRST}
    return encode(
        QuarantinedBody(post.received_at_us, post.account, body_format, error.reason, str(error), headers, body)
    )


def is_probe(message: Message) -> bool:
    """Tell whether somebody tried the address with `{"test": true}` or `{"ping": ...}`, and with nothing else.

    Nothing of it is kept, so nothing that may be a CDR is one: no other field, and no value that holds something.
    """
    if message.is_array or not isinstance(element := message.elements[0], Fields) or element.notes:
        return False
    return bool(element.fields) and all(
        fold_name(name) in _PROBES and not isinstance(value, dict | list) and len(str(value)) <= _LONGEST_PROBE
        for name, value in element.fields.items()
    )


def format_of(post: Post, scope: Any) -> str:
    """Name the format in which to answer a body that cannot be read: its own, if it shows one."""
    return guess_format(post.body) if post.body.strip() else declared_format(scope)


def declared_format(scope: Any) -> str:
    """Name the format that the Content-Type declares, for a body that was not read; json unless it says another."""
    if scope["method"] != "POST":
        return "form"
    content_type = (text_header(scope, b"content-type") or "").lower()
    return "xmlrpc" if "xml" in content_type else "form" if "form" in content_type else "json"


def text_header(scope: Any, name: bytes) -> str | None:
    """Return a request header by its lower-case name, as text; one that was repeated as the list that it means."""
    values = [value for key, value in scope["headers"] if key == name]
    return b", ".join(values).decode("latin-1") if values else None
