"""Bytes to text: which encoding a body is in, whatever it says about itself."""

from __future__ import annotations

import codecs
import re
from functools import lru_cache
from typing import Final

from common.errors import Unreadable

_HEBREW: Final = "cp1255"
# An allow-list: Python's codecs include some that are no encodings of text at all. Names without punctuation.
_SINGLE_BYTE: Final = {
    **{f"{prefix}125{n}": f"cp125{n}" for n in range(9) for prefix in ("windows", "cp")},
    **{f"iso8859{n}": f"iso8859_{n}" for n in (1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 13, 14, 15, 16)},
    # Windows-1255 has the letters of ISO-8859-8 in the same places, and is what is meant when they come with more.
    **dict.fromkeys(("iso88598", "iso88598i", "iso88598e", "hebrew"), _HEBREW),
    "latin1": "iso8859_1",
    "koi8r": "koi8_r",
    "cp862": "cp862",
    "ibm862": "cp862",
}
_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Every format begins with two ASCII characters, so the places of NUL in four bytes tell the width and the order.
_NUL_PATTERNS: Final = {
    b"\1\0\1\0": "utf-16-le",
    b"\0\1\0\1": "utf-16-be",
    b"\1\0\0\0": "utf-32-le",
    b"\0\0\0\1": "utf-32-be",
}
# Python turns each broken character over to a handler, at 0.1 us: nothing for a few, seconds for millions.
_MAX_BROKEN_WIDE: Final = 4_000_000
_MAX_SURROGATE_RUNS: Final = 10_000
# Surrogates encoded one by one, as some senders write an emoji, in the form that `surrogateescape` gives them.
_SURROGATE_RUN = re.compile("(?:\udced[\udca0-\udcbf][\udc80-\udcbf]){1,100}")
_STRAY_BYTE = re.compile("[\udc80-\udcff]")
_ENCODED_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
_CHARSET = re.compile(r"""charset\s*=\s*["']?([\w.:-]+)""", re.ASCII | re.IGNORECASE)
_XML_ENCODING = re.compile(rb"""\s*<\?xml[^>]*?\sencoding\s*=\s*["']([\w.:-]+)""")


def decode(body: bytes, declared: str | None) -> str:
    """Return the text of a body without its byte order mark.

    `declared` is a codec from `declared_codec`. In this order: byte order mark, the NUL pattern of UTF-16 and
    UTF-32, the XML declaration, `declared`, UTF-8, windows-1255. What is broken never fails, see `decode_as`, except
    in megabytes of UTF-16 or UTF-32: then raise `Unreadable`.
    """
    if wide := _wide_codec(body):
        return _decode_wide(body, wide).removeprefix("\ufeff")
    if body.startswith(codecs.BOM_UTF8):
        unmarked = body.removeprefix(codecs.BOM_UTF8)
        return decode_as(unmarked, narrow_codec(unmarked, None))
    return decode_as(body, narrow_codec(body, _xml_codec(body) or declared))


def narrow_codec(encoded: bytes, declared: str | None) -> str:
    """Choose the codec of bytes that are neither UTF-16 nor UTF-32: `declared` if given, UTF-8 or windows-1255."""
    return declared or ("utf-8" if _is_utf8(encoded) else _HEBREW)


def decode_as(encoded: bytes, codec: str) -> str:
    """Decode with a codec that `narrow_codec` chose; never raise.

    Bytes that are no UTF-8 become lone surrogates, so that `hygiene` can note them with their field. Bytes that
    another encoding does not define become U+FFFD.
    """
    if codec == "utf-8":
        return _decode_utf8(encoded)
    return codecs.charmap_decode(encoded, "strict", _letters(codec))[0]


@lru_cache(maxsize=64)
def declared_codec(content_type: str | None) -> str | None:
    """Return the codec that a Content-Type's charset names; None for UTF-8, unknown ones and none."""
    charset = _CHARSET.search(content_type or "")
    return _codec_named(charset[1]) if charset else None


@lru_cache(maxsize=64)
def _letters(codec: str) -> str:
    # With undefined bytes in the table as U+FFFD nothing is an error, and errors are what makes decoding slow.
    return bytes(range(256)).decode(codec, "replace")


def _wide_codec(body: bytes) -> str | None:
    marked = (codec for mark, codec in _BYTE_ORDER_MARKS if body.startswith(mark))
    return next(marked, None) or _NUL_PATTERNS.get(bytes(map(bool, body[:4])))


def _xml_codec(body: bytes) -> str | None:
    declaration = _XML_ENCODING.match(body[:200])
    return _codec_named(declaration[1].decode()) if declaration else None


def _codec_named(name: str) -> str | None:
    # A declared UTF-16 that came this far is none: .NET writes it into XML that it then sends as UTF-8.
    return _SINGLE_BYTE.get(re.sub(r"[^a-z0-9]", "", name.lower()))


def _decode_wide(body: bytes, codec: str) -> str:
    try:
        return body.decode(codec)
    except UnicodeDecodeError as error:
        if len(body) > _MAX_BROKEN_WIDE:
            raise Unreadable(f"{len(body):,} bytes of broken {codec}: {error.reason}") from error
    try:
        return body.decode(codec, "surrogatepass")
    except UnicodeDecodeError:
        return body.decode(codec, "replace")


def _decode_utf8(encoded: bytes) -> str:
    try:
        return encoded.decode()
    except UnicodeDecodeError:
        return _SURROGATE_RUN.sub(_joined, encoded.decode("utf-8", "surrogateescape"), _MAX_SURROGATE_RUNS)


def _joined(run: re.Match[str]) -> str:
    # UTF-16 is where two surrogates mean a character.
    surrogates = run[0].encode("utf-8", "surrogateescape").decode("utf-8", "surrogatepass")
    return surrogates.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _is_utf8(encoded: bytes) -> bool:
    try:
        encoded.decode()
    except UnicodeDecodeError as error:
        # The first fault tells cheaply that surrogates are not all that is wrong.
        surrogates = _ENCODED_SURROGATE.match(encoded, error.start)
        return bool(surrogates and _is_utf8_with_surrogates(encoded)) or _is_damaged_utf8(encoded)
    return True


def _is_utf8_with_surrogates(encoded: bytes) -> bool:
    escaped = encoded.decode("utf-8", "surrogateescape")
    return not _STRAY_BYTE.search(_SURROGATE_RUN.sub("", escaped, _MAX_SURROGATE_RUNS))


def _is_damaged_utf8(encoded: bytes) -> bool:
    # A sender that cuts a name in the middle of a letter leaves one broken byte among many whole letters, where
    # Hebrew in windows-1255 has hardly a byte that reads as UTF-8.
    text = encoded.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    letters = len(text) - len(text.encode("ascii", "ignore")) - broken
    return letters > 4 * broken
