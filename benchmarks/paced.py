"""Posts at a pace, whether or not the earlier posts are answered, so that whatever stalls is seen by all that come meanwhile."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from benchmarks.processes import Failed
from cdr.post_cdr import describe, read_answer
from cdr.simulate.traffic import Post

ANSWER_SECONDS = 60.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def post_paced(url: str, posts: Iterable[Post], rate: float, begun: Callable[[Post], None]) -> float:
    """Post so many a second and return how many it came to; `begun` is told of each right before it is sent.

    Raises Failed when one is not answered as stored.
    """
    try:
        return asyncio.run(_Sender(url, begun).send_all(posts, rate))
    except ExceptionGroup as errors:
        raise Failed(f"{len(errors.exceptions)} posts went wrong, the first: {errors.exceptions[0]!r}") from errors
    except TimeoutError as error:
        raise Failed(f"some posts are not answered {ANSWER_SECONDS:g} s after the last") from error


class _Sender:
    """Keeps connections open; a post for which none is free opens another."""

    def __init__(self, url: str, begun: Callable[[Post], None]) -> None:
        self._address = urlsplit(url)
        self._begun = begun
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def send_all(self, posts: Iterable[Post], rate: float) -> float:
        began, sent = time.monotonic(), 0
        async with asyncio.timeout(None) as limit, asyncio.TaskGroup() as tasks:
            for sent, post in enumerate(posts, 1):
                await asyncio.sleep(began + (sent - 1) / rate - time.monotonic())
                tasks.create_task(self._post(post))
            seconds = time.monotonic() - began
            limit.reschedule(asyncio.get_running_loop().time() + ANSWER_SECONDS)
        for _reader, writer in self._free:
            writer.close()
        return (sent - 1) / seconds

    async def _post(self, post: Post) -> None:
        self._begun(post)
        reader, writer = await self._connection()
        head = (
            f"POST {self._address.path} HTTP/1.1\r\nHost: {self._address.netloc}\r\n"
            f"Content-Type: {post.content_type}\r\nContent-Length: {len(post.body)}\r\n\r\n"
        )
        writer.write(head.encode() + post.body)
        answer_head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(answer_head)
        answer = read_answer(int(answer_head.split()[1]), await reader.readexactly(int(length[1]) if length else 0))
        if not answer.stored:
            raise Failed(f"not stored: {describe(answer)}")
        self._free.append((reader, writer))

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._free:
            reader, writer = self._free.pop()
            # The server may have ended one that was not needed for long.
            if not reader.at_eof():
                return reader, writer
        return await asyncio.open_connection(self._address.hostname, self._address.port)
