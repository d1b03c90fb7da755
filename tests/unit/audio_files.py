"""Small files of every kind of audio that is taken, made by hand."""

from __future__ import annotations

from struct import pack

MP3_FRAME = b"\xff\xfb\x90\x64" + bytes(413)
MP3_FRAME_SECONDS = 1152 / 44_100


def wav(codec: int, bytes_per_second: int, audio: bytes, *, promised: int | None = None, extra: bytes = b"") -> bytes:
    """A WAV file whose header may promise another size than it has."""
    form = pack("<HHIIHH", codec, 1, 8000, bytes_per_second, 1, 8) + extra
    size = len(audio) if promised is None else promised
    chunks = [pack("<4sI", b"LIST", 3), b"abc\0", pack("<4sI", b"fmt ", len(form)), form, pack("<4sI", b"data", size)]
    body = b"WAVE" + b"".join(chunks) + audio
    return pack("<4sI", b"RIFF", len(body)) + body


def ogg(head: bytes, granule: int, *, pages: int = 1) -> bytes:
    """An Ogg stream of two headers and so many pages of audio, the last of which ends at `granule`."""
    tags = b"OpusTags" + pack("<I", 0) + pack("<I", 0)
    content = [(head, 0, 2), (tags, 0, 0)] + [
        (bytes(200), granule, 4 if page == pages - 1 else 0) for page in range(pages)
    ]
    return b"".join(_page(number, *page) for number, page in enumerate(content))


def _page(number: int, packet: bytes, granule: int, flags: int) -> bytes:
    return pack("<4sBBqIIIBB", b"OggS", 0, flags, granule, 7, number, 0, 1, len(packet)) + packet


OPUS_HEAD = b"OpusHead" + pack("<BBHIhB", 1, 1, 312, 48_000, 0, 0)
VORBIS_HEAD = b"\x01vorbis" + pack("<IBIiiiBB", 0, 1, 8000, 0, 64_000, 0, 0xB8, 1)


def box(name: bytes, content: bytes) -> bytes:
    """A box of an MP4 file."""
    return pack(">I", len(content) + 8) + name + content


def m4a(entry: bytes, *, seconds: int = 5) -> bytes:
    """An M4A file of one track whose format is `entry`."""
    header = box(b"mvhd", pack(">IIIII", 0, 0, 0, 1000, seconds * 1000) + bytes(80))
    table = box(b"stsd", pack(">II", 0, 1) + entry)
    track = box(b"trak", box(b"mdia", box(b"minf", box(b"stbl", table))))
    return box(b"ftyp", b"M4A \0\0\0\0") + box(b"moov", header + track) + box(b"mdat", bytes(100))


_SOUND = bytes(6) + pack(">H", 1) + bytes(8) + pack(">HHHHI", 1, 16, 0, 0, 8000 << 16)
AAC_ENTRY = box(
    b"mp4a",
    _SOUND + box(b"esds", bytes(4) + b"\x03\x19\0\x01\0\x04\x11\x40\x15" + bytes(3) + bytes(8) + b"\x05\x02\x15\x88"),
)
ALAC_ENTRY = box(
    b"alac", _SOUND + box(b"alac", bytes(4) + pack(">IBBBBBBHIII", 4096, 0, 16, 0, 0, 0, 1, 0, 0, 0, 8000))
)
