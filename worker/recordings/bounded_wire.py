"""A socket with two bounds that sockets lack: a deadline, and how much may come that is no body.

The timeout of a socket starts anew with every byte that drips in. And the standard library reads interim answers, the frames
of chunks and trailers for as long as somebody sends them.
"""

from __future__ import annotations

import io
import socket
from contextlib import AbstractContextManager
from typing import Any, Self

from common.errors import RecordingRefused
from worker.deadline import shut_down_at

# A head has a few kilobytes, a chunk's frame a few bytes.
FRAMING_BYTES = 1 << 20
_A_BYTE_OF_BODY_FRAMES = 8


class Wire:
    """Stands in for a connected socket, from which one answer is read. `sock` may be replaced by TLS on top of it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        # TLS takes the socket's descriptor over; a second one reaches the connection all the same.
        self._twin = sock.dup()
        self._allowed = FRAMING_BYTES
        self._read = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()
        self._twin.close()

    def cut_off(self, ends_at: float) -> AbstractContextManager[None]:
        """Shut the connection down at a time of the monotonic clock, unless the block has ended by then."""
        return shut_down_at(self._twin, ends_at)

    def __getattr__(self, name: str) -> Any:
        """Do all else as the socket itself does."""
        return getattr(self.sock, name)

    def grant(self, body_bytes: int) -> None:
        """Allow as much more to come as has turned out to be body, and what frames it."""
        self._allowed += body_bytes + body_bytes // _A_BYTE_OF_BODY_FRAMES

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        """Return the stream that the answer is read from."""
        return io.BufferedReader(_Counting(self, self.sock.makefile("rb", buffering=0)))

    def count(self, size: int) -> None:
        """Note bytes that came; raises RecordingRefused when too many of them are no body."""
        self._read += size
        if self._read > self._allowed:
            raise RecordingRefused(f"more than {FRAMING_BYTES} bytes beside its body")


class _Counting(io.RawIOBase):
    def __init__(self, wire: Wire, raw: Any) -> None:
        super().__init__()
        self._wire, self._raw = wire, raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        size: int | None = self._raw.readinto(buffer)
        self._wire.count(size or 0)
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()
