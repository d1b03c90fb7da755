"""Plays the provider: posts at a steady rate from many threads, tries what was not taken once more, notes each answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from queue import Queue
from threading import Event, Thread

from cdr.post_cdr import Answer, Poster, describe
from oracle.ledger import Attempt, Ledger, Outcome, Post

THREADS = 48
ANSWER_SECONDS = 4.0
RETRY_AFTER_SECONDS = 0.3


class Driver:
    """Sends posts to the receiver's address of each account, and notes every attempt in the ledger."""

    def __init__(self, addresses: Mapping[str, str], ledger: Ledger) -> None:
        self._posters = {
            account: Poster(url, timeout=ANSWER_SECONDS, connections=THREADS) for account, url in addresses.items()
        }
        self._ledger = ledger

    def attempt(self, post: Post) -> Attempt:
        """Send a post once."""
        began = time.monotonic()
        answer = self._posters[post.account].post(post.body, post.content_type)
        attempt = Attempt(post, began, time.monotonic(), judge(answer), describe(answer))
        self._ledger.note(attempt)
        return attempt

    def deliver(self, post: Post) -> None:
        """Send a post, and once more when it was not taken."""
        if self.attempt(post).outcome in {"refused", "unanswered"}:
            time.sleep(RETRY_AFTER_SECONDS)
            self.attempt(post)

    def close(self) -> None:
        """Close the connections."""
        for poster in self._posters.values():
            poster.close()

    @contextmanager
    def posting(self, posts: Iterator[Post], cdrs_a_second: float) -> Iterator[None]:
        """Post at a rate for the length of a with-block; what was begun is finished before it is left."""
        line: Queue[Post | None] = Queue(THREADS)
        ended = Event()
        threads = [Thread(target=self._work, args=(line,), daemon=True) for _ in range(THREADS)]
        pacer = Thread(target=_fill, args=(line, posts, cdrs_a_second, ended.is_set), daemon=True)
        for thread in (*threads, pacer):
            thread.start()
        try:
            yield
        finally:
            ended.set()
            pacer.join()
            for _ in threads:
                line.put(None)
            for thread in threads:
                thread.join()

    def _work(self, line: Queue[Post | None]) -> None:
        while (post := line.get()) is not None:
            self.deliver(post)


def _fill(line: Queue[Post | None], posts: Iterator[Post], cdrs_a_second: float, ended: Callable[[], bool]) -> None:
    """Put posts in the line, each when its time has come; what a slow receiver holds up is not made up for."""
    due = time.monotonic()
    while not ended():
        post = next(posts)
        line.put(post)
        due = max(due + max(1, len(post.cdrs)) / cdrs_a_second, time.monotonic() - 1)
        time.sleep(max(0.0, due - time.monotonic()))


def judge(answer: Answer) -> Outcome:
    """Say what an answer means: only err 0 under HTTP 200 is an acknowledgement."""
    if answer.http_status == 0:
        return "unanswered"
    if not answer.taken:
        return "refused"
    return "acked" if answer.stored else "kept"
