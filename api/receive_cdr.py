"""The endpoint: read the body, decode it, store what it holds, and answer only then."""

from __future__ import annotations

import os
import time
from typing import Any, NamedTuple

import msgspec

from api.acknowledge import OK, STORED, Answer, answer_to, render
from api.group_commit import Entries, GroupCommit
from api.guards import Accounts, QuarantineBudget, SenderGone, header, kept_headers, read_whole_body
from api.metrics import Metrics
from common.cdr import find_call_id, fold_name
from common.delivery import Delivery, QuarantinedBody
from common.errors import CdrError, NotACdr, Rejected, TooLarge, TooSlow, Unreadable
from common.settings import ReceiverSettings
from common.wire import BadElement, Fields, Message, decompress, guess_format, read_body, read_query

_encode = msgspec.json.Encoder(decimal_format="number").encode
_PROBES = frozenset({"test", "ping"})


class Post(NamedTuple):
    """One request as far as it is read: who sent it, when (microseconds since the epoch), and the bytes."""

    account: str
    received_at_us: int
    delivery_id: str
    headers: dict[str, str]
    body: bytes


class ReceiveCdr:
    """The ASGI endpoint of the address that the provider posts to."""

    def __init__(self, settings: ReceiverSettings, group_commit: GroupCommit, metrics: Metrics) -> None:
        self._accounts = Accounts(settings)
        self._limit = settings.max_body_bytes
        self._debug = settings.receiver_debug
        self._budget = QuarantineBudget(settings.quarantine_bytes_per_day)
        self._group_commit = group_commit
        self._metrics = metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request, whatever it holds, with a well-formed reply below HTTP 500 (503 excepted)."""
        started = time.perf_counter()
        account = self._accounts.of(scope["path_params"].get("secret"))
        if account is None:
            return await _send(send, 404, [(b"content-type", b"text/plain")], b"not found")
        try:
            answer, body_format = await self._answer(account, scope, receive)
        except SenderGone:
            return self._metrics.count("none", "sender_gone")
        response = render(answer, body_format)
        await _send(send, *response)
        return self._metrics.observe_answer(time.perf_counter() - started)

    async def _answer(self, account: str, scope: Any, receive: Any) -> tuple[Answer, str]:
        if scope["method"] in ("GET", "HEAD"):
            body = bytes(scope["query_string"])
        else:
            try:
                body = await read_whole_body(scope, receive, self._limit)
            except (TooLarge, TooSlow) as error:
                body_format = _declared_format(scope)
                self._metrics.count(body_format, error.reason)
                return answer_to(error), body_format
        post = Post(account, time.time_ns() // 1000, os.urandom(16).hex(), kept_headers(scope), body)
        return await self._take(post, scope)

    async def _take(self, post: Post, scope: Any) -> tuple[Answer, str]:
        try:
            post, message = _decode(post, scope, self._limit)
        except TooLarge as error:
            self._metrics.count(_declared_format(scope), error.reason)
            return answer_to(error), _declared_format(scope)
        except Unreadable as error:
            return await self._reject(post, guess_format(post.body), error)
        if scope["method"] in ("GET", "HEAD") and not _has_call_id(message):
            return Answer(200, OK, "ready"), "form"
        if _is_probe(message):
            self._metrics.count(message.format, "probe")
            return STORED, message.format
        return await self._store(post, message), message.format

    async def _reject(self, post: Post, body_format: str, error: Rejected) -> tuple[Answer, str]:
        """Answer a body that is no CDR; keep it, unless it is empty or the account's day is full."""
        if not post.body.strip():
            self._metrics.count(body_format, "empty")
            return answer_to(error), body_format
        entries = Entries([], self._kept(post, body_format, error, post.body))
        stored = await self._commit(entries)
        self._metrics.count(body_format, error.reason)
        return (answer_to(error) if stored is STORED else stored), body_format

    async def _store(self, post: Post, message: Message) -> Answer:
        """Store the CDRs of a message; what of an array is none goes to quarantine by itself."""
        entries = Entries([], [])
        bad: list[str] = []
        for place, element in enumerate(message.elements):
            try:
                entries.deliveries.append(_delivery(post, message.format, place, element))
            except Rejected as error:
                bad.append(f"element {place}: {error}" if message.is_array else str(error))
                text = _element_text(post, message, element)
                entries.bodies.extend(self._kept(post, message.format, error, text))
        if not message.elements:
            bad.append("the array is empty")
            entries.bodies.extend(self._kept(post, message.format, NotACdr("the array is empty"), post.body))
        stored = await self._commit(entries)
        self._metrics.count(message.format, "stored" if stored is STORED else "unavailable", len(entries.deliveries))
        self._metrics.count(message.format, NotACdr.reason, len(bad))
        if stored is not STORED or not bad:
            return self._with_debug(stored, message)
        summary = f"{len(bad)} of {len(message.elements)} not taken: {bad[0]}" if message.is_array else bad[0]
        return answer_to(NotACdr(summary))

    async def _commit(self, entries: Entries) -> Answer:
        if not entries.deliveries and not entries.bodies:
            return STORED
        try:
            await self._group_commit.store(entries)
        except CdrError as error:
            return answer_to(error)
        return STORED

    def _kept(self, post: Post, body_format: str, error: Rejected, body: bytes) -> list[bytes]:
        if not self._budget.take(post.account, len(body), post.received_at_us):
            self._metrics.count(body_format, "quarantine_full")
            return []
        kept = QuarantinedBody(
            post.received_at_us, post.account, body_format, error.reason, str(error), post.headers, body
        )
        return [_encode(kept)]

    def _with_debug(self, answer: Answer, message: Message) -> Answer:
        if not self._debug or answer is not STORED:
            return answer
        fields = [element.fields for element in message.elements if isinstance(element, Fields)]
        got = [{"call_id": find_call_id(each), "fields": sorted(each)} for each in fields]
        return answer._replace(
            more={"origrequest": fields if message.is_array else fields[0], "got": got if message.is_array else got[0]}
        )


def _decode(post: Post, scope: Any, limit: int) -> tuple[Post, Message]:
    """Decompress and decode; the post returned holds the bytes that the parser saw."""
    if scope["method"] in ("GET", "HEAD"):
        return post, Message("form", False, [read_query(post.body)])
    encoding = header(scope, b"content-encoding")
    if encoding is not None:
        post = post._replace(body=decompress(post.body, encoding.decode("latin-1"), limit))
    content_type = header(scope, b"content-type")
    return post, read_body(post.body, content_type.decode("latin-1") if content_type else None)


def _delivery(post: Post, body_format: str, place: int, element: Fields | BadElement) -> bytes:
    """Encode one CDR for its job; raise NotACdr when it holds no call id."""
    if isinstance(element, BadElement):
        raise NotACdr(element.error)
    find_call_id(element.fields)
    delivery = Delivery(
        post.delivery_id, place, post.received_at_us, post.account, body_format, element.fields, element.notes
    )
    return _encode(delivery)


def _element_text(post: Post, message: Message, element: Fields | BadElement) -> bytes:
    if not message.is_array:
        return post.body
    return element.text if isinstance(element, BadElement) else _encode(element.fields)


def _has_call_id(message: Message) -> bool:
    try:
        return all(isinstance(element, Fields) and find_call_id(element.fields) for element in message.elements)
    except NotACdr:
        return False


def _is_probe(message: Message) -> bool:
    """Tell whether somebody tried the address with `{"test": true}` or `{"ping": ...}`."""
    if message.is_array or not isinstance(element := message.elements[0], Fields):
        return False
    return not _PROBES.isdisjoint(map(fold_name, element.fields)) and not _has_call_id(message)


def _declared_format(scope: Any) -> str:
    """Name the format by the Content-Type, for a body that was not read."""
    content_type = header(scope, b"content-type") or b""
    return "xmlrpc" if b"xml" in content_type else "form" if b"form" in content_type else "json"


async def _send(send: Any, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
