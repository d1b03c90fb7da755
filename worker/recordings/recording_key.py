"""Names recordings in the store by their call, whatever their call is called."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from pathlib import PurePosixPath
from urllib.parse import quote, unquote

# A file's name may have 255 bytes: two such parts, a hash of 64 digits and an extension.
_LONGEST_PART = 80
_CONTENT = re.compile(r"-[0-9a-f]{64}$")


def recording_key(account: str, started_at: datetime, call_id: str, call_type: str | None, extension: str) -> str:
    """Name a recording `account/year/month/day/call_id-type.extension`, the day being UTC's.

    Call ids come from outside and hold anything: each part is percent-encoded (blanks become underscores), cannot
    begin with a dot, and when long is cut and told apart by a hash.
    """
    return f"{key_part(account)}/{started_at.astimezone(UTC):%Y/%m/%d}/{key_stem(call_id, call_type)}.{extension}"


def key_stem(call_id: str, call_type: str | None) -> str:
    """Return what the names of a call's recordings begin with."""
    return f"{key_part(call_id)}-{key_part(call_type or 'unknown')}"


def stem_of(key: str) -> str:
    """Return the stem in a key, whatever content it is named for."""
    return _CONTENT.sub("", PurePosixPath(key).stem)


def is_named_for(key: str, sha256: bytes) -> bool:
    """Tell whether an object of this content may have that name: it names no content, or this one."""
    named = _CONTENT.search(PurePosixPath(key).stem)
    return named is None or named[0] == f"-{sha256.hex()}"


def call_ids_in(stem: str) -> list[str]:
    """Return every call id that a stem may be of: a dash may stand in the id, in the type, or between the two.

    An id that was cut is in none of them, and an underscore may have been a blank.
    """
    parts = stem.split("-")
    return [unquote("-".join(parts[:count])) for count in range(1, len(parts))]


def content_key(key: str, sha256: bytes) -> str:
    """Name an object for its content, beside one of the same call that has another."""
    path = PurePosixPath(key)
    # The whole hash: an object that has this name already can only be the same content.
    return str(path.with_name(f"{path.stem}-{sha256.hex()}{path.suffix}"))


def key_part(text: str) -> str:
    """Turn a text into one harmless part of a key."""
    part = quote(text.replace(" ", "_"), safe="", errors="replace")
    if part.startswith("."):
        part = f"%2E{part[1:]}"
    if len(part) <= _LONGEST_PART:
        return part
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()
    return f"{part[: _LONGEST_PART - 33]}-{digest[:32]}"
