"""Threads that post side by side as the provider does: each post is tried again until it is answered HTTP 200."""

from __future__ import annotations

from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TYPE_CHECKING, Self

from cdr.post_cdr import describe

if TYPE_CHECKING:
    from types import TracebackType

    from cdr.post_cdr import Answer, Poster
    from cdr.simulate.tally import Outcome, Refusals, Tally
    from cdr.simulate.traffic import Post

# The provider's own count and spacing are unpublished: three tries, close together.
_PAUSES_SECONDS = (0.2, 0.4)


class Senders:
    """A line of posts, `backlog` at most, and the threads that work it off.

    Leaving the block drops what still waits and finishes what has been begun. Whatever keeps a thread from its work, such as
    OSError because the tally cannot be written, is raised by `send` and `wait`.
    """

    def __init__(self, poster: Poster, tally: Tally, refusals: Refusals, threads: int, backlog: int) -> None:
        self._poster = poster
        self._tally = tally
        self._refusals = refusals
        self._line: Queue[Post | None] = Queue(backlog)
        self._stopping = Event()
        self._error: Exception | None = None
        self._threads = [Thread(target=self._work, name=f"sender-{i}", daemon=True) for i in range(threads)]

    def send(self, post: Post, timeout_seconds: float) -> bool:
        """Put a post in the line; False: there was no room in it for so long."""
        self._raise_error()
        try:
            self._line.put(post, timeout=timeout_seconds)
        except Full:
            return False
        return True

    def wait(self, timeout_seconds: float) -> bool:
        """Wait until the line is worked off; False: it was not for so long."""
        with self._line.all_tasks_done:
            done = self._line.all_tasks_done.wait_for(lambda: not self._line.unfinished_tasks, timeout_seconds)
        self._raise_error()
        return done

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._drop_waiting()
        for _ in self._threads:
            self._line.put(None)
        for thread in self._threads:
            thread.join()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _drop_waiting(self) -> None:
        try:
            while True:
                self._line.get_nowait()
        except Empty:
            return

    def _work(self) -> None:
        while (post := self._line.get()) is not None:
            # After an error the line is still emptied, or the one who fills it would wait for ever.
            if self._error is None:
                self._work_off(post)
            self._line.task_done()

    def _work_off(self, post: Post) -> None:
        try:
            self._tally.note(post.cdrs, "sent")
            answer = self._deliver(post)
            self._tally.note(post.cdrs, _judge(answer))
            if not answer.stored:
                self._refusals.note(describe(answer))
        except Exception as error:  # noqa: BLE001 - whatever it is, who fills the line has to hear of it
            self._error = error

    def _deliver(self, post: Post) -> Answer:
        """Post until it is taken, or has been tried often enough, or the run is being stopped."""
        answer = self._poster.post(post.body, post.content_type)
        for pause_seconds in _PAUSES_SECONDS:
            if answer.taken or self._stopping.wait(pause_seconds):
                break
            answer = self._poster.post(post.body, post.content_type)
        return answer


def _judge(answer: Answer) -> Outcome:
    if answer.stored:
        return "acked"
    return "quarantined" if answer.taken and answer.err is not None else "failed"
