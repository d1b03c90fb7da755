"""Tells how long a recording lasts, how it is coded, and what is odd about it, whatever its file holds."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tinytag import TinyTag, TinyTagException

from worker.recordings.wav_header import read_wav_header

# An honest file needs a few kilobytes and milliseconds. A hostile one can make a reader go through all of it, four bytes at a
# time, or keep all of it in memory.
_MOST_BYTES = 16 << 20
_MOST_CPU_SECONDS = 2.0

# Longer than any call; what a header claims beyond it was made up.
_LONGEST_SECONDS = 7 * 86_400

_LARGE_DIFFERENCE_SECONDS = 15
_LARGE_DIFFERENCE_SHARE = 0.25

_CODEC = re.compile(r'codecs="([^"]+)"')
_NAMES = {"audio/mpeg": "mp3", "audio/flac": "flac"}
_SEPARATOR = "; "
_DIFFERS = "audio lasts"


@dataclass(frozen=True)
class AudioFacts:
    """What a file says of its audio; None where it cannot be told. `problem` is what is odd about the file itself."""

    seconds: float | None = None
    codec: str | None = None
    problem: str | None = None


class _TooMuch(Exception):
    """A file that makes its reader work without end."""


class _Bounded:
    """A file that ends with an error once so much of it has been read, or this thread has worked on it for so long."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = _MOST_BYTES
        self._ends_at = time.thread_time() + _MOST_CPU_SECONDS
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        """Read as a file does; raise when it is too much."""
        content = self._file.read(min(size, self._left + 1) if size >= 0 else self._left + 1)
        self._left -= len(content)
        if self._left < 0 or time.thread_time() > self._ends_at:
            raise _TooMuch
        return content


def audio_facts(path: Path, extension: str) -> AudioFacts:
    """Read the facts of a file of audio of the kind that `extension` says. Raises nothing: what cannot be read is not told."""
    try:
        with path.open("rb") as file:
            return _wav_facts(file) if extension == "wav" else _other_facts(file, extension)
    except (TinyTagException, OSError):
        return AudioFacts()


def _wav_facts(file: BinaryIO) -> AudioFacts:
    header = read_wav_header(file)
    if header is None:
        return AudioFacts(problem="the WAV header cannot be read")
    seconds = header.bytes / header.bytes_per_second if header.bytes_per_second else None
    problem = None
    if header.promised_bytes is not None and header.promised_bytes > header.bytes:
        problem = f"cut off: the header promises {header.promised_bytes} bytes of audio, {header.bytes} came"
    return AudioFacts(_believable(seconds), header.codec, problem)


def _other_facts(file: BinaryIO, extension: str) -> AudioFacts:
    bounded: Any = _Bounded(file)
    # Of Ogg it would read every packet, in search of the tags that it was told to leave out.
    tag = TinyTag.get(file_obj=bounded, tags=extension == "ogg")
    return AudioFacts(_believable(tag.duration), _codec(tag.mime_type))


def _codec(mime_type: str | None) -> str | None:
    found = _CODEC.search(mime_type or "")
    if found is None:
        return _NAMES.get(mime_type or "")
    return "aac" if found[1].startswith("mp4a.40") else found[1]


def _believable(seconds: float | None) -> float | None:
    if seconds is None or not math.isfinite(seconds) or not 0 <= seconds <= _LONGEST_SECONDS:
        return None
    return round(float(seconds), 1)


def note_difference(problem: str | None, seconds: float | None, talk_seconds: int | None) -> str | None:
    """Add to what is odd about a file that it is much longer or shorter than the call was; an earlier such note goes."""
    lines = [line for line in (problem or "").split(_SEPARATOR) if line and not line.startswith(_DIFFERS)]
    if seconds is not None and talk_seconds is not None and _is_large(seconds, talk_seconds):
        lines.append(f"{_DIFFERS} {seconds:.0f} s, the call talked {talk_seconds} s")
    return _SEPARATOR.join(lines) or None


def _is_large(seconds: float, talk_seconds: int) -> bool:
    difference = abs(seconds - talk_seconds)
    return difference > max(_LARGE_DIFFERENCE_SECONDS, _LARGE_DIFFERENCE_SHARE * max(seconds, talk_seconds))
