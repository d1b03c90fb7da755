"""Names recordings in the store by their call, whatever their call is called."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import PurePosixPath
from urllib.parse import quote

# A file's name may have 255 bytes: two such parts, a hash of 64 digits and an extension.
_LONGEST_PART = 80


def recording_key(account: str, started_at: datetime, call_id: str, call_type: str | None, extension: str) -> str:
    """Name a recording `account/year/month/day/call_id-type.extension`, the day being UTC's.

    Call ids come from outside and hold anything: each part is percent-encoded (blanks become underscores), cannot
    begin with a dot, and when long is cut and told apart by a hash.
    """
    name = f"{_key_part(call_id)}-{_key_part(call_type or 'unknown')}.{extension}"
    return f"{_key_part(account)}/{started_at.astimezone(UTC):%Y/%m/%d}/{name}"


def content_key(key: str, sha256: bytes) -> str:
    """Name an object for its content, beside one of the same call that has another."""
    path = PurePosixPath(key)
    # The whole hash: an object that has this name already can only be the same content.
    return str(path.with_name(f"{path.stem}-{sha256.hex()}{path.suffix}"))


def _key_part(text: str) -> str:
    part = quote(text.replace(" ", "_"), safe="", errors="replace")
    if part.startswith("."):
        part = f"%2E{part[1:]}"
    if len(part) <= _LONGEST_PART:
        return part
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()
    return f"{part[: _LONGEST_PART - 33]}-{digest[:32]}"
