"""Tells audio from anything else by its first bytes, whatever its sender calls it."""

from __future__ import annotations

from dataclasses import dataclass

# As many bytes as the longest of the signatures looks at.
SIGNATURE_BYTES = 12


@dataclass(frozen=True)
class AudioKind:
    """A container of audio: the extension of its files, without the dot, and its media type."""

    extension: str
    content_type: str


_MP3 = AudioKind("mp3", "audio/mpeg")
_WAV = AudioKind("wav", "audio/wav")
_OGG = AudioKind("ogg", "audio/ogg")
_M4A = AudioKind("m4a", "audio/mp4")


def audio_kind(head: bytes) -> AudioKind | None:
    """Name the kind of audio that begins with `head`, None when it is none of those that are taken."""
    if head[:3] == b"ID3" or _is_mp3_frame(head):
        return _MP3
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return _WAV
    if head[:4] == b"OggS":
        return _OGG
    return _M4A if head[4:8] == b"ftyp" else None


def _is_mp3_frame(head: bytes) -> bool:
    """Tell a frame header of MPEG audio layer III: 11 bits of sync, and none of the reserved values."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    version, layer = head[1] >> 3 & 0b11, head[1] >> 1 & 0b11
    bitrate, sampling = head[2] >> 4, head[2] >> 2 & 0b11
    return version != 0b01 and layer == 0b01 and bitrate != 0b1111 and sampling != 0b11


def content_type_of(name: str) -> str:
    """Return the media type of a file by its extension."""
    extension = name.rpartition(".")[2]
    known = {kind.extension: kind.content_type for kind in (_MP3, _WAV, _OGG, _M4A)}
    return known.get(extension, "application/octet-stream")
