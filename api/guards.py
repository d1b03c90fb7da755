"""What stands before any parsing: who sends, and how much."""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from common.errors import TooLarge, TooSlow
from common.settings import DEFAULT_ACCOUNT, ReceiverSettings

# What the provider posts to; the secret is missing where none is set.
ADDRESS = re.compile(r"/cdr(?:/(?P<secret>[^/?%]+))?/?")
READ_SECONDS = 30
# A sender that is cut off while it sends reads no answer, so a body over the limit is read on, and dropped, up to this.
READ_ON_TIMES = 4


class SenderGone(Exception):
    """The sender hung up before its body was whole."""


class Accounts:
    """Knows the account that each secret address belongs to."""

    def __init__(self, settings: ReceiverSettings) -> None:
        self._digests = [(account, _digest(secret.get_secret_value())) for account, secret in settings.receiver_secrets]
        self._known: dict[bytes, str] = {}

    def at(self, target: bytes) -> str | None:
        """Return the account whose address a request's target is; None when it is none, or is written in an unusual way."""
        account = self._known.get(target)
        if account is None and (address := ADDRESS.fullmatch(target.decode("latin-1"))):
            account = self.of(address["secret"])
            if account is not None:
                # Only right addresses are remembered, of which there are few.
                self._known[target] = account
        return account

    def of(self, secret: str | None) -> str | None:
        """Return the account of an address's secret, None for a wrong one.

        Takes the same time for every secret. With no secrets set only the bare address counts.
        """
        if not self._digests:
            return DEFAULT_ACCOUNT if secret is None else None
        given = _digest(secret or "")
        found = None
        for account, digest in self._digests:
            if hmac.compare_digest(given, digest):
                found = account
        return found


def _digest(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()


async def read_whole_body(scope: Any, receive: Any, limit: int, let_go: Callable[[], None]) -> bytes:
    """Return the request's body as it came, at most `limit` bytes; `let_go` is called when nothing of it is kept any more.

    Raises TooLarge, TooSlow or SenderGone.
    """
    declared = header(scope, b"content-length") or b"0"
    if declared.isdigit() and int(declared) > limit and header(scope, b"expect") is not None:
        # It asks before it sends, so the answer reaches it without a byte of the body.
        raise TooLarge(f"the body has {int(declared)} bytes, the limit is {limit}")
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await _read(receive, limit, let_go)
    except TimeoutError:
        raise TooSlow(f"the body did not end within {READ_SECONDS} s") from None


def header(scope: Any, name: bytes) -> bytes | None:
    """Return a request header by its lower-case name."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None


async def _read(receive: Any, limit: int, let_go: Callable[[], None]) -> bytes:
    chunks: list[bytes] = []
    size, more = 0, True
    while more and size <= READ_ON_TIMES * limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise SenderGone
        chunk = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        else:
            # The answer waits for the sender, for 30 s at most, and others must not wait for the room.
            chunks.clear()
            let_go()
    if size > limit:
        raise TooLarge(f"the body has more than {limit} bytes")
    return b"".join(chunks)


class OnlyMethods:
    """Passes requests with these methods on, and answers all others in plain text before it looks at anything else."""

    def __init__(self, endpoint: Any, *methods: str) -> None:
        self._endpoint = endpoint
        self._methods = methods

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["method"] in self._methods:
            await self._endpoint(scope, receive, send)
            return
        body = b"method not allowed"
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"allow", ", ".join(self._methods).encode()),
        ]
        await send({"type": "http.response.start", "status": 405, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class QuarantineBudget:
    """Bounds how many bytes a day an account may put into quarantine, so that a broken sender fills no disk.

    What counts is the entry as it waits in Redis: body, headers and error, in base64 and JSON.
    """

    def __init__(self, bytes_per_day: int) -> None:
        self._limit = bytes_per_day
        self._day = 0
        self._used: dict[str, int] = {}

    def take(self, account: str, size: int, received_at_us: int) -> bool:
        """Count an entry; False when the account's day is full and it is not to be kept."""
        day = _day_of(received_at_us)
        if day != self._day:
            self._day, self._used = day, {}
        used = self._used.get(account, 0) + size
        if used > self._limit:
            return False
        self._used[account] = used
        return True

    def give_back(self, account: str, size: int, received_at_us: int) -> None:
        """Take back what entries took that could not be stored."""
        if _day_of(received_at_us) == self._day:
            self._used[account] = self._used.get(account, 0) - size


def _day_of(received_at_us: int) -> int:
    return received_at_us // 86_400_000_000
