"""What a recording's file says of its audio is read, and nothing that it holds keeps its reader busy for long."""

from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from struct import pack

import pytest
from audio_files import (
    AAC_ENTRY,
    ALAC_ENTRY,
    MP3_FRAME,
    MP3_FRAME_SECONDS,
    OPUS_HEAD,
    VORBIS_HEAD,
    box,
    m4a,
    ogg,
    wav,
)

from worker.recordings import audio_facts as reading
from worker.recordings.audio_facts import AudioFacts, audio_facts, note_difference
from worker.recordings.audio_kind import audio_kind

Read = Callable[[bytes], AudioFacts]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def facts(content: bytes) -> AudioFacts:
        path = tmp_path / "recording"
        path.write_bytes(content)
        kind = audio_kind(content[:12])
        assert kind is not None
        return audio_facts(path, kind.extension)

    return facts


@pytest.mark.parametrize(
    ("number", "bytes_per_second", "codec"),
    [(1, 16_000, "pcm"), (6, 8000, "alaw"), (7, 8000, "mulaw"), (0x31, 1625, "gsm"), (0x99, 8000, "wav 0x0099")],
)
def test_a_wav_file_tells_its_seconds_and_its_codec(read: Read, number: int, bytes_per_second: int, codec: str) -> None:
    assert read(wav(number, bytes_per_second, bytes(bytes_per_second * 3))) == AudioFacts(3.0, codec)


def test_an_extensible_wav_file_tells_its_codec_too(read: Read) -> None:
    extra = pack("<HHI", 22, 8, 0) + pack("<H", 6) + bytes(14)
    assert read(wav(0xFFFE, 8000, bytes(12_000), extra=extra)) == AudioFacts(1.5, "alaw")


def test_a_wav_file_that_is_cut_off_lasts_as_long_as_what_came(read: Read) -> None:
    facts = read(wav(6, 8000, bytes(16_000), promised=960_000))
    assert facts == AudioFacts(2.0, "alaw", "cut off: the header promises 960000 bytes of audio, 16000 came")


@pytest.mark.parametrize("promised", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_wav_file_whose_writer_did_not_know_its_size_is_not_cut_off(read: Read, promised: int) -> None:
    assert read(wav(1, 16_000, bytes(32_000), promised=promised)) == AudioFacts(2.0, "pcm")


def test_what_follows_the_audio_of_a_wav_file_is_no_audio(read: Read) -> None:
    assert read(wav(6, 8000, bytes(8000) + b"LIST" + bytes(5000), promised=8000)) == AudioFacts(1.0, "alaw")


@pytest.mark.parametrize(
    "content",
    [
        b"RIFF\0\0\0\0WAVE",
        b"RIFF\0\0\0\0WAVEdata\x04\0\0\0abcd",
        b"RIFF\0\0\0\0WAVEfmt \x02\0\0\0\x01\0data\x04\0\0\0abcd",
        b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 5000,
        b"RIFF\0\0\0\0WAVEjunk\xff\xff\xff\xff",
    ],
)
def test_a_wav_header_that_cannot_be_read_is_told(read: Read, content: bytes) -> None:
    assert read(content) == AudioFacts(problem="the WAV header cannot be read")


def test_a_wav_file_without_a_rate_has_no_length(read: Read) -> None:
    assert read(wav(1, 0, bytes(100))) == AudioFacts(None, "pcm")


def test_an_mp3_file_tells_its_seconds(read: Read) -> None:
    assert read(MP3_FRAME * 400) == AudioFacts(round(400 * MP3_FRAME_SECONDS, 1), "mp3")


def test_an_mp3_file_behind_tags_tells_its_seconds_too(read: Read) -> None:
    tags = b"ID3\x03\0\0" + b"\0\0\x07\x68" + bytes(1000)
    assert read(tags + MP3_FRAME * 400) == AudioFacts(round(400 * MP3_FRAME_SECONDS, 1), "mp3")


@pytest.mark.parametrize(
    ("head", "rate", "skipped", "codec"), [(OPUS_HEAD, 48_000, 312, "opus"), (VORBIS_HEAD, 8000, 0, "vorbis")]
)
def test_an_ogg_file_tells_its_seconds_and_its_codec(
    read: Read, head: bytes, rate: int, skipped: int, codec: str
) -> None:
    assert read(ogg(head, 4 * rate + skipped, pages=3)) == AudioFacts(4.0, codec)


@pytest.mark.parametrize(("entry", "codec"), [(AAC_ENTRY, "aac"), (ALAC_ENTRY, "alac")])
def test_an_m4a_file_tells_its_seconds_and_its_codec(read: Read, entry: bytes, codec: str) -> None:
    assert read(m4a(entry)) == AudioFacts(5.0, codec)


def test_an_m4a_file_of_another_codec_tells_its_seconds_only(read: Read) -> None:
    assert read(m4a(box(b"samr", bytes(40)))) == AudioFacts(5.0, None)


@pytest.mark.parametrize(
    "content",
    [
        b"ID3",
        b"ID3\x04\0\0\x7f\x7f\x7f\x7f",
        b"OggS",
        b"OggS\0" + bytes(22),
        ogg(b"OpusHead", 1),
        box(b"ftyp", b""),
        box(b"ftyp", b"M4A ") + box(b"moov", box(b"mvhd", b"\0")),
        box(b"ftyp", b"M4A ") + box(b"moov", pack(">I", 1) + b"mvhd" + b"\xff" * 8),
        m4a(box(b"mp4a", bytes(37))),
        MP3_FRAME[:4],
        b"\xff\xfb\x90\x64" + bytes(32) + b"Xing\0\0\0\x01\x7f\xff",
    ],
)
def test_a_broken_file_tells_what_it_can_and_fails_nothing(read: Read, content: bytes) -> None:
    facts = read(content)
    assert facts.seconds is None or facts.seconds < 1
    assert facts.problem is None


def test_a_length_that_no_call_has_is_not_believed(read: Read) -> None:
    claims = b"\xff\xfb\x90\x64" + bytes(32) + b"Xing" + pack(">iii", 3, 2**31 - 1, 2**31 - 1) + bytes(400)
    assert read(claims).seconds is None


HOSTILE: dict[str, bytes] = {
    "zeros after a frame": MP3_FRAME[:4],
    "a box as large as the file": box(b"ftyp", b"M4A ")
    + pack(">I", 300 << 20)
    + b"moov"
    + pack(">I", 299 << 20)
    + b"mvhd",
    "tags as large as the file": b"ID3\x03\0\0\x7f\x7f\x7f\x7f",
    "a chunk as large as the file": b"RIFF\0\0\0\0WAVEfmt " + pack("<I", 300 << 20),
}


@pytest.mark.parametrize("head", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_file_of_512_mb_costs_little_memory_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(reading, "_MOST_CPU_SECONDS", 0.5)
    path = tmp_path / "recording"
    path.write_bytes(head)
    os.truncate(path, 512 << 20)
    kind = audio_kind(head[:12])
    assert kind is not None
    tracemalloc.start()
    began = time.thread_time()
    try:
        facts = audio_facts(path, kind.extension)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert facts.codec in {None, "mp3"}
    assert time.thread_time() - began < 5
    assert most_bytes < 64 << 20


def test_a_stream_whose_packet_never_ends_costs_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    head = ogg(OPUS_HEAD, 1)[: 28 + len(OPUS_HEAD)]
    page = pack("<4sBBqIIIB", b"OggS", 0, 0, 0, 7, 1, 0, 255) + b"\xff" * 255 + bytes(255 * 255)
    with path.open("wb") as file:
        file.write(head)
        for _ in range(1500):
            file.write(page)
    tracemalloc.start()
    try:
        assert audio_facts(path, "ogg") == AudioFacts()
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("seconds", "talked", "noted"),
    [
        (3.0, 120, "audio lasts 3 s, the call talked 120 s"),
        (120.4, 3, "audio lasts 120 s, the call talked 3 s"),
        (15.0, 0, None),
        (15.1, 0, "audio lasts 15 s, the call talked 0 s"),
        (100.0, 84, None),
        (1000.0, 751, None),
        (1000.0, 749, "audio lasts 1000 s, the call talked 749 s"),
        (None, 120, None),
        (3.0, None, None),
    ],
)
def test_a_large_difference_to_the_call_is_noted(seconds: float | None, talked: int | None, noted: str | None) -> None:
    assert note_difference(None, seconds, talked) == noted


def test_what_else_is_odd_stays_and_an_earlier_difference_goes() -> None:
    before = "cut off: the header promises 9 bytes of audio, 1 came; audio lasts 3 s, the call talked 120 s"
    assert note_difference(before, 3.0, 60) == (
        "cut off: the header promises 9 bytes of audio, 1 came; audio lasts 3 s, the call talked 60 s"
    )
    assert note_difference(before, 3.0, 4) == "cut off: the header promises 9 bytes of audio, 1 came"
