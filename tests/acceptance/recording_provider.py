"""Plays the provider's recording host, in a process of its own: audio that comes late, pages instead, waits, and traps.

What a path answers follows from its name alone, so that the test knows what has to become of each recording. The host
keeps an account of what it was asked, at /account. A second listener, on another address, is where no recorder may go:
it counts who connects.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import sys
import time
import wave
from collections import Counter
from typing import NamedTuple
from zlib import crc32

RETRY_AFTER_SECONDS = 3
# A request that is under way when the host asks for a pause, or is held up by a busy machine, breaks no rule.
PAUSE_GRACE_SECONDS = 1.0
LARGEST_BYTES = 65_536
# What the worst pages do, and what a recording behind each has to become; out of 1,000 names.
SHARES = (
    ("late", 333, "stored"),
    ("html_first", 50, "stored"),
    ("empty_first", 10, "stored"),
    ("truncated_first", 10, "stored"),
    ("forbidden_first", 10, "stored"),
    ("busy_first", 2, "stored"),
    ("html", 10, "gone"),
    ("missing", 10, "gone"),
    ("bomb", 5, "gone"),
    ("said_gone", 5, "gone"),
    ("to_private", 10, "refused"),
    ("loop", 5, "refused"),
    ("endless", 5, "refused"),
    ("audio", 535, "stored"),
)


class Page(NamedTuple):
    """How a path behaves, and the status that its recording has to end in."""

    behaviour: str
    status: str


def page(path: str) -> Page:
    place = crc32(path.encode()) % 1000
    for behaviour, share, status in SHARES:
        if place < share:
            return Page(behaviour, status)
        place -= share
    raise AssertionError("the shares make up less than a thousand")


def audio(path: str) -> bytes:
    """Make a WAV file of a tenth of a second that no other path has."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(hashlib.sha256(path.encode()).digest() * 50)
    return content.getvalue()


class Account:
    """What the host was asked, and when."""

    def __init__(self) -> None:
        self.requests = 0
        self.asked: Counter[str] = Counter()
        self.open_pages: Counter[str] = Counter()
        self.most_open_of_a_page = 0
        self.most_open = 0
        self.private_connections = 0
        self.asked_in_pauses = 0
        self.pauses = 0
        self.pause: tuple[float, float] = (0.0, 0.0)

    def begin(self, path: str) -> None:
        now = time.monotonic()
        self.requests += 1
        self.asked[path] += 1
        self.open_pages[path] += 1
        self.most_open_of_a_page = max(self.most_open_of_a_page, self.open_pages[path])
        self.most_open = max(self.most_open, self.open_pages.total())
        self.asked_in_pauses += self.pause[0] < now < self.pause[1]

    def ask_to_wait(self) -> None:
        now = time.monotonic()
        self.pauses += 1
        self.pause = (now + PAUSE_GRACE_SECONDS, now + RETRY_AFTER_SECONDS)

    def as_json(self) -> bytes:
        names = ("requests", "most_open_of_a_page", "most_open", "private_connections", "asked_in_pauses", "pauses")
        return json.dumps({name: getattr(self, name) for name in names}).encode()


class Host:
    def __init__(self) -> None:
        self.account = Account()
        self.private_address = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode().partition("?")[0]
            if path == "/account":
                await _answer(writer, 200, self.account.as_json())
                return
            self.account.begin(path)
            try:
                await self._answer_page(writer, path, first=self.account.asked[path] == 1)
            finally:
                self.account.open_pages[path] -= 1
        except (ConnectionError, asyncio.IncompleteReadError):
            # A client that hangs up, or is killed, is a part of the play.
            pass
        finally:
            writer.close()

    async def serve_private(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.account.private_connections += 1
        await _answer(writer, 200, audio("private"))
        writer.close()

    async def _answer_page(self, writer: asyncio.StreamWriter, path: str, *, first: bool) -> None:
        behaviour = page(path).behaviour
        if behaviour == "busy_first" and first:
            self.account.ask_to_wait()
            await _answer(writer, 429, retry_after=str(RETRY_AFTER_SECONDS))
        elif behaviour == "endless":
            await _answer(writer, 200, audio(path), length=None)
            while True:
                writer.write(bytes(8192))
                await writer.drain()
        elif behaviour in {"to_private", "loop"}:
            await _answer(writer, 302, location=self.private_address if behaviour == "to_private" else path)
        elif behaviour == "truncated_first" and first:
            await _answer(writer, 200, audio(path)[:200], length=3244)
        elif behaviour == "bomb":
            await _answer(writer, 200, _BOMB, content_encoding="gzip")
        elif behaviour.removesuffix("_first") == "html" and (first or behaviour == "html"):
            await _answer(writer, 200, b"<!DOCTYPE html><title>Log in</title>", content_type="audio/mpeg")
        elif behaviour == "empty_first" and first:
            await _answer(writer, 200)
        else:
            status = {"late": 404, "forbidden_first": 403}.get(behaviour, 200) if first else 200
            status = {"missing": 404, "said_gone": 410}.get(behaviour, status)
            await _answer(writer, status, audio(path) if status == 200 else b"")


# Ten megabytes of zeros in ten kilobytes.
_BOMB = gzip.compress(bytes(10_000_000))
_OWN = object()


async def _answer(
    writer: asyncio.StreamWriter, status: int, body: bytes = b"", length: object = _OWN, **headers: str
) -> None:
    lines = [f"HTTP/1.1 {status} Said", "Connection: close"]
    if length is not None:
        lines.append(f"Content-Length: {len(body) if length is _OWN else length}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    await writer.drain()


async def main() -> None:
    host = Host()
    server = await asyncio.start_server(host.serve, "127.0.0.1", 0, backlog=1024)
    private = await asyncio.start_server(host.serve_private, "127.0.0.2", 0)
    host.private_address = f"http://127.0.0.2:{private.sockets[0].getsockname()[1]}/recording.mp3"
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    # It ends with the test that started it.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
