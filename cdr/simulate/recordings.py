"""A small web server for the recordings that simulated CDRs name: real audio, and now and then not there yet."""

from __future__ import annotations

import re
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING
from zlib import crc32

from cdr.simulate.silence import silence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# As `cdr.simulate.fields` names them: how long the call talked, as the last thing in the name.
_SECONDS = re.compile(r"_([0-9]{1,9})s\.mp3$")
_LONGEST_SECONDS = 3600
# The provider's file may come minutes after its CDR: one name in this many is not found the first time.
_LATE_ONE_IN = 10


class RecordingServer(ThreadingHTTPServer):
    """Knows its address, to be put before the recordings' names, and when it was last asked for one."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _RecordingHandler)
        self.base = f"http://127.0.0.1:{self.server_port}"
        self.asked_at = monotonic()

    def wait_until_quiet(self, seconds: float, sleep: Callable[[float], None]) -> None:
        """Return once nobody has asked for so long; what `sleep` raises ends the wait."""
        self.asked_at = monotonic()
        while (left := self.asked_at + seconds - monotonic()) > 0:
            sleep(min(left, 0.5))


@contextmanager
def serve_recordings() -> Iterator[RecordingServer]:
    """Serve recordings on a free loopback port until the block ends."""
    server = RecordingServer()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="recordings", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def is_late(name: str) -> bool:
    """Tell whether the recording of this name answers 404 the first time it is asked for."""
    return crc32(name.encode()) % _LATE_ONE_IN == 0


def recording(name: str) -> bytes:
    """Make the recording of this name: silence as long as the name says, an hour at most."""
    said = _SECONDS.search(name)
    return silence(min(int(said[1]), _LONGEST_SECONDS) if said else 1, crc32(name.encode()))


class _RecordingHandler(BaseHTTPRequestHandler):
    """Answers GET and HEAD of any `/<name>.mp3`."""

    server: RecordingServer
    protocol_version = "HTTP/1.1"
    # An open connection that nobody uses must not hold its thread for ever.
    timeout = 30
    _asked_for: set[str] = set()  # noqa: RUF012 - shared by the requests on purpose
    _lock = Lock()

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        self.server.asked_at = monotonic()
        body = self._find()
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "audio/ogg" if body else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _find(self) -> bytes:
        """Give the audio of the name that is asked for; nothing if there is none, or none yet."""
        if not self.path.endswith(".mp3") or (is_late(self.path) and self._first_time()):
            return b""
        return recording(self.path)

    def _first_time(self) -> bool:
        with self._lock:
            first = self.path not in self._asked_for
            self._asked_for.add(self.path)
        return first

    def log_message(self, *_: object) -> None:
        """Say nothing: the progress bar has the terminal."""
