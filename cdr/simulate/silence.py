"""Makes recordings of silence of any length: Ogg Opus, 35 bytes a second, which browsers and players play."""

from __future__ import annotations

from functools import lru_cache
from struct import pack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# A packet of RFC 6716 that is nothing but its first byte: 60 ms of narrow-band speech in which nothing was sent.
_PACKET = b"\x18"
_SAMPLES_A_SECOND = 48_000
_SAMPLES_A_PACKET = 2_880
_MOST_PACKETS_A_PAGE = 255
_FIRST_PAGE, _LAST_PAGE = 2, 4
_CRC_POLYNOMIAL = 0x04C11DB7


def silence(seconds: int, serial: int) -> bytes:
    """Make a file that lasts so many seconds, one at least; `serial` (32 bits) tells it from others of that length."""
    return b"".join(_pages(max(1, seconds) * _SAMPLES_A_SECOND, serial))


def _pages(samples: int, serial: int) -> Iterator[bytes]:
    head = b"OpusHead" + pack("<BBHIhB", 1, 1, 0, 8_000, 0, 0)
    yield _page([head], 0, serial, 0, _FIRST_PAGE)
    yield _page([b"OpusTags" + pack("<I", 3) + b"cdr" + pack("<I", 0)], 0, serial, 1, 0)
    packets, number, done = -(-samples // _SAMPLES_A_PACKET), 2, 0
    while done < packets:
        count = min(_MOST_PACKETS_A_PAGE, packets - done)
        done += count
        # The position of the last page may cut its last packet short.
        position = min(samples, done * _SAMPLES_A_PACKET)
        yield _page([_PACKET] * count, position, serial, number, _LAST_PAGE if done == packets else 0)
        number += 1


def _page(packets: list[bytes], position: int, serial: int, number: int, flags: int) -> bytes:
    """Write a page of Ogg (RFC 3533) of packets of less than 255 bytes each; its checksum is that with the field zero."""
    lengths = bytes(map(len, packets))
    begin = b"OggS" + pack("<BBqII", 0, flags, position, serial, number)
    end = pack("<B", len(lengths)) + lengths + b"".join(packets)
    return begin + pack("<I", _crc(begin + bytes(4) + end)) + end


def _crc(data: bytes) -> int:
    table, crc = _crc_table(), 0
    for byte in data:
        crc = (crc << 8 & 0xFFFFFFFF) ^ table[crc >> 24 ^ byte]
    return crc


@lru_cache(maxsize=1)
def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (_CRC_POLYNOMIAL if crc >> 31 else 0)) & 0xFFFFFFFF
        table.append(crc)
    return tuple(table)
