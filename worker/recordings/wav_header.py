"""Reads what the header of a WAV file says: how its audio is coded, how long it lasts, and whether all of it came."""

from __future__ import annotations

import os
from dataclasses import dataclass
from struct import unpack, unpack_from
from typing import BinaryIO

# The registered numbers that telephone systems write; G.711 is what the call itself was sent in.
_CODECS = {
    1: "pcm",
    2: "adpcm",
    3: "float",
    6: "alaw",
    7: "mulaw",
    0x11: "adpcm",
    0x31: "gsm",
    0x55: "mp3",
    0x64: "g726",
}
# The number is then the first of the sixteen bytes that name the format, in the part that follows.
_EXTENSIBLE = 0xFFFE
# A program that could not go back to its header when it was done left 0 or about as much as fits.
_UNKNOWN_FROM_BYTES = 0x7FFF0000
_MOST_CHUNKS = 1000
_FORMAT_BYTES = 40


@dataclass(frozen=True)
class WavHeader:
    """`promised_bytes` is the size of the audio as the header has it, None when it does not say; `bytes` is what is there."""

    codec: str
    bytes_per_second: int
    promised_bytes: int | None
    bytes: int


def read_wav_header(file: BinaryIO) -> WavHeader | None:
    """Read a header from the beginning of `file`; None when it has no format or no audio, or is broken off."""
    size = file.seek(0, os.SEEK_END)
    place, form = 12, b""
    for _ in range(_MOST_CHUNKS):
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            return None
        name, length = head[:4], unpack("<I", head[4:])[0]
        place += 8
        if name == b"fmt ":
            form = file.read(min(length, _FORMAT_BYTES))
        elif name == b"data":
            return _header(form, length, size - place)
        # Chunks begin at even places.
        place += length + length % 2
    return None


def _header(form: bytes, length: int, present: int) -> WavHeader | None:
    if len(form) < 16:
        return None
    number, bytes_per_second = unpack_from("<H6xI", form)
    if number == _EXTENSIBLE and len(form) >= 26:
        number = unpack_from("<H", form, 24)[0]
    promised = None if length == 0 or length >= _UNKNOWN_FROM_BYTES else length
    codec = _CODECS.get(number, f"wav 0x{number:04x}")
    return WavHeader(codec, bytes_per_second, promised, present if promised is None else min(promised, present))
