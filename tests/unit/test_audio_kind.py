"""Audio is told by its first bytes, and nothing else passes for it."""

from __future__ import annotations

import io
import wave

import pytest

from worker.recordings.audio_kind import SIGNATURE_BYTES, audio_kind


def wav() -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(2)
        audio.setframerate(8000)
        audio.writeframes(bytes(160))
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "extension", "content_type"),
    [
        (wav(), "wav", "audio/wav"),
        (b"ID3\x04\x00\x00\x00\x00\x00\x00", "mp3", "audio/mpeg"),
        (b"\xff\xfb\x90\x64", "mp3", "audio/mpeg"),
        (b"\xff\xf3\x40\xc0", "mp3", "audio/mpeg"),
        (b"\xff\xe3\x18\xc4", "mp3", "audio/mpeg"),
        (b"OggS\x00\x02", "ogg", "audio/ogg"),
        (b"\x00\x00\x00\x20ftypM4A \x00", "m4a", "audio/mp4"),
    ],
)
def test_audio_is_told_by_its_first_bytes(content: bytes, extension: str, content_type: str) -> None:
    kind = audio_kind(content[:SIGNATURE_BYTES])

    assert kind is not None
    assert (kind.extension, kind.content_type) == (extension, content_type)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"\xff\xfb",
        b"<!DOCTYPE html><html>",
        b'{"error": "not found"}',
        b"%PDF-1.7 ....",
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
        b"RIFF\x00\x00\x00\x00AVI LIST",
        "<html>".encode("utf-16"),
        "html".encode("utf-16"),
        b"\xff\xf1\x50\x80",
        b"\xff\xeb\x90\x64",
        b"\xff\xfb\xf0\x64",
        b"\xff\xfb\x9c\x64",
    ],
)
def test_anything_else_is_no_audio(content: bytes) -> None:
    assert audio_kind(content[:SIGNATURE_BYTES]) is None
