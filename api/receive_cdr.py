"""The endpoint: read the body, decode it, store what it holds, and answer only then."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

import structlog

from api.acknowledge import READY, STORED, Answer, Response, answer_to, render
from api.admission import Admission, Admitted
from api.group_commit import Entries, GroupCommit
from api.guards import Accounts, QuarantineBudget, SenderGone, read_whole_body
from api.kept_request import kept_query
from api.metrics import Metrics
from api.post import (
    Post,
    declared_format,
    decompressed,
    delivery,
    element_text,
    format_of,
    is_probe,
    quarantined,
    text_header,
)
from common.cdr import find_call_id, sends_call_id
from common.errors import CdrError, NotACdr, Rejected, TooBusy, TooLarge, TooSlow, Unreadable
from common.settings import ReceiverSettings
from common.wire import Fields, Message, read_body, read_query

# Reading a body of this size takes so long that other senders would wait for it.
LARGE_BYTES = 256 * 1024

_log = structlog.get_logger("api.receive_cdr")

Result = TypeVar("Result")


class ReceiveCdr:
    """The ASGI endpoint of the address that the provider posts to."""

    def __init__(
        self,
        settings: ReceiverSettings,
        accounts: Accounts,
        admission: Admission,
        group_commit: GroupCommit,
        metrics: Metrics,
    ) -> None:
        self._accounts = accounts
        self._limit = settings.max_body_bytes
        self._debug = settings.receiver_debug
        self._budget = QuarantineBudget(settings.quarantine_bytes_per_day)
        self._group_commit = group_commit
        self._metrics = metrics
        self._admission = admission
        # One at a time: each takes several times its size in memory.
        self._large = asyncio.Semaphore(1)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request, whatever it holds, with a well-formed reply below HTTP 500 (503 excepted)."""
        started = time.perf_counter()
        account = self._accounts.of(scope["path_params"].get("secret"))
        if account is None:
            return await _send(send, 404, ((b"content-type", b"text/plain"),), b"not found")
        request = self._admission.request(receive)
        try:
            with request:
                response = await self._respond(account, scope, request)
        except SenderGone:
            return self._metrics.count("none", "sender_gone")
        except TooBusy as error:
            await request.drop_rest(self._limit)
            response = render(*self._refuse(scope, error))
        await _send(send, *response)
        return self._metrics.observe_answer(time.perf_counter() - started)

    async def _respond(self, account: str, scope: Any, request: Admitted) -> Response:
        try:
            body = await self._read(scope, request)
        except (TooLarge, TooSlow) as error:
            return render(*self._refuse(scope, error))
        post = Post(account, time.time_ns() // 1000, os.urandom(16).hex(), scope, body, scope["method"] != "POST")
        try:
            return render(*await self._take(post, scope, request))
        except TooBusy:
            raise
        except Exception as error:  # noqa: BLE001 - the edge of the receiver
            # A bug of ours must not cost a CDR, however often it is sent: the body is kept until the bug is mended.
            _log.exception("a body could not be handled", account=account)
            failure = Unreadable(f"the receiver failed at it: {type(error).__name__}")
            return render(*await self._reject(post, declared_format(scope), failure))

    async def _read(self, scope: Any, request: Admitted) -> bytes:
        if scope["method"] == "POST":
            return await read_whole_body(scope, request, self._limit, request.let_go)
        return kept_query(scope)

    async def _take(self, post: Post, scope: Any, request: Admitted) -> tuple[Answer, str]:
        if scope["method"] != "POST":
            return await self._take_query(post, scope)
        try:
            if text_header(scope, b"content-encoding") is not None:
                post = await self._aside(decompressed, post, scope, self._limit)
                request.take(len(post.body))
            message = await self._parsed(post, text_header(scope, b"content-type"))
        except TooLarge as error:
            return self._refuse(scope, error)
        except Unreadable as error:
            return await self._reject(post, format_of(post, scope), error)
        if is_probe(message):
            self._metrics.count(message.format, "probe")
            return STORED, message.format
        return await self._store(post, message), message.format

    async def _parsed(self, post: Post, content_type: str | None) -> Message:
        if len(post.body) < LARGE_BYTES:
            return read_body(post.body, content_type)
        return await self._aside(read_body, post.body, content_type)

    async def _aside(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Do in a thread what would hold up other senders."""
        async with self._large:
            return await asyncio.to_thread(work, *arguments)

    async def _take_query(self, post: Post, scope: Any) -> tuple[Answer, str]:
        """Take a GET whose query names a call; any other GET, and each HEAD, only asks whether somebody is there."""
        try:
            fields = read_query(post.body)
        except Unreadable as error:
            return await self._reject(post, "form", error)
        if scope["method"] == "HEAD" or not sends_call_id(fields.fields):
            self._metrics.count("form", "probe")
            return READY, "plain"
        return await self._store(post, Message("form", is_array=False, elements=[fields])), "form"

    def _refuse(self, scope: Any, error: CdrError) -> tuple[Answer, str]:
        """Answer a body that was not read to its end, and is not kept."""
        body_format = declared_format(scope)
        self._metrics.count(body_format, error.reason)
        return answer_to(error), body_format

    async def _reject(self, post: Post, body_format: str, error: Rejected) -> tuple[Answer, str]:
        """Answer a body that is no CDR; keep it, unless it is empty or the account's day is full."""
        if not post.body.strip():
            self._metrics.count(body_format, "empty")
            return answer_to(error), body_format
        entries = Entries([], self._kept(post, body_format, error, post.body))
        stored = await self._commit(post, entries)
        self._metrics.count(body_format, error.reason)
        return (answer_to(error) if stored is STORED else stored), body_format

    async def _store(self, post: Post, message: Message) -> Answer:
        """Store the CDRs of a message; what of an array is none goes to quarantine by itself."""
        entries, faults = self._sort(post, message)
        stored = await self._commit(post, entries)
        self._metrics.count(message.format, "stored" if stored is STORED else "unavailable", len(entries.deliveries))
        self._metrics.count(message.format, NotACdr.reason, len(faults))
        if stored is not STORED or not faults:
            return self._with_debug(stored, message)
        many = len(message.elements) > 1
        return answer_to(NotACdr(f"{len(faults)} of {len(message.elements)}: {faults[0]}" if many else faults[0]))

    def _sort(self, post: Post, message: Message) -> tuple[Entries, list[str]]:
        """Sort the elements of a message into what is stored and what is kept, with a line on each of the latter."""
        entries, faults = Entries([], []), []
        for place, element in enumerate(message.elements):
            try:
                entries.deliveries.append(delivery(post, message.format, place, element))
            except Rejected as error:
                faults.append(f"element {place}: {error}" if message.is_array else str(error))
                text = element_text(post, message, element)
                entries.bodies.extend(self._kept(post, message.format, error, text, is_first=not entries.bodies))
        if not message.elements:
            faults.append("the array is empty")
            entries.bodies.extend(self._kept(post, message.format, NotACdr(faults[0]), post.body))
        return entries, faults

    async def _commit(self, post: Post, entries: Entries) -> Answer:
        if not entries.deliveries and not entries.bodies:
            return STORED
        try:
            await self._group_commit.store(entries)
        except CdrError as error:
            self._budget.give_back(post.account, sum(map(len, entries.bodies)), post.received_at_us)
            return answer_to(error)
        return STORED

    def _kept(
        self, post: Post, body_format: str, error: Rejected, body: bytes, *, is_first: bool = True
    ) -> list[bytes]:
        entry = quarantined(post, body_format, error, body, is_first=is_first)
        if not self._budget.take(post.account, len(entry), post.received_at_us):
            self._metrics.count(body_format, "quarantine_full")
            return []
        return [entry]

    def _with_debug(self, answer: Answer, message: Message) -> Answer:
        if not self._debug or answer is not STORED:
            return answer
        fields = [element.fields for element in message.elements if isinstance(element, Fields)]
        got = [{"call_id": find_call_id(each), "fields": sorted(each)} for each in fields]
        return answer._replace(
            more={"origrequest": fields if message.is_array else fields[0], "got": got if message.is_array else got[0]}
        )


async def _send(send: Any, status: int, headers: tuple[tuple[bytes, bytes], ...], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
