"""What is kept of a request beside its body: its headers and its query, without the secret of its address."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from common.kept_encoding import CONTENT_ENCODING, told_undone

MAX_HEADER_CHARACTERS = 8192
# Names that no header can have: what we say about the headers stands beside them.
LEFT_OUT = "(left out)"
ELSEWHERE = "(headers)"
# Without these the kept bytes may read otherwise later than they did when they came.
_FIRST = frozenset({"content-type", CONTENT_ENCODING})
# Words in the names of headers that hold credentials, or the address as a proxy saw it, whose path is our secret.
_SECRET_HEADERS = (
    "auth",
    "cookie",
    "credential",
    "key",
    "pass",
    "path",
    "referer",
    "secret",
    "session",
    "signature",
    "token",
    "uri",
    "url",
)
# A text that is percent-encoded more often than this hides something.
_MOST_ENCODINGS = 8


def kept_headers(scope: Any, *, is_inflated: bool = False) -> dict[str, str]:
    """Return the request's headers for the quarantine, without those that may hold a secret; repeated ones joined.

    At most about 8 KiB: headers that do not fit are left out whole, and `(left out)` tells how many. Of a body that
    is kept inflated the encoding stands under another name, so that nothing undoes it twice.
    """
    secret = scope["path_params"].get("secret")
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1").replace("\0", "")
        if any(word in name for word in _SECRET_HEADERS) or _tells(secret, name) or _tells(secret, value):
            continue
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return _bounded(told_undone(headers) if is_inflated else headers)


def kept_query(scope: Any) -> bytes:
    """Return the query of a request; where a sender has written the secret into a field, `(secret)` stands for it."""
    query: bytes = scope["query_string"]
    secret = scope["path_params"].get("secret")
    if not _tells(secret, query.decode("latin-1")):
        return query
    return b"&".join(_without(secret, pair) for pair in query.split(b"&"))


def _without(secret: str, pair: bytes) -> bytes:
    name, separator, value = pair.partition(b"=")
    parts = (b"(secret)" if _tells(secret, part.decode("latin-1")) else part for part in (name, value))
    return separator.join(parts) if separator else next(parts)


def _tells(secret: str | None, text: str) -> bool:
    """Tell whether a text holds the secret, in any case and however often it is percent-encoded."""
    if not secret:
        return False
    for _ in range(_MOST_ENCODINGS):
        if secret.lower() in text.lower():
            return True
        if "%" not in text or (once := unquote(text, "latin-1")) == text:
            return False
        text = once
    return True


def _bounded(headers: dict[str, str]) -> dict[str, str]:
    kept: dict[str, str] = {}
    left_out: list[str] = []
    room = MAX_HEADER_CHARACTERS
    for name in sorted(headers, key=lambda name: name not in _FIRST):
        size = len(name) + len(headers[name])
        if size > room:
            left_out.append(name)
            continue
        kept[name] = headers[name]
        room -= size
    if left_out:
        characters = sum(len(name) + len(headers[name]) for name in left_out)
        kept[LEFT_OUT] = f"{len(left_out)} of {characters:,} characters, the first: {left_out[0][:100]}"
    return kept
