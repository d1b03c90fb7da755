"""What is kept of a request beside its body holds no secret, whatever a proxy made of the address."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.kept_request import MAX_HEADER_CHARACTERS, kept_headers, kept_query

SECRET = "aB3-_" * 4


def scope(*headers: tuple[bytes, bytes], secret: str | None = None, query: bytes = b"") -> dict[str, Any]:
    path = {} if secret is None else {"secret": secret}
    return {"headers": list(headers), "path_params": path, "query_string": query}


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "proxy-authorization",
        "cookie",
        "x-api-key",
        "x-auth-token",
        "x-secret",
        "referer",
        "x-hub-signature",
        "x-password",
        "x-forwarded-uri",
        "x-original-url",
        "x-envoy-original-path",
        "x-session-id",
        "x-amz-credential",
    ],
)
def test_a_header_that_may_hold_a_secret_is_not_kept(name: str) -> None:
    assert kept_headers(scope((name.encode(), b"anything"))) == {}


@pytest.mark.parametrize(
    "value", [SECRET, f"/cdr/{SECRET}?a=b", f"https://x.invalid/cdr/{SECRET}", "%61%42%33%2d%5F" * 4]
)
def test_a_header_that_quotes_the_secret_is_not_kept(value: str) -> None:
    assert kept_headers(scope((b"x-anything", value.encode()), secret=SECRET)) == {}


def test_other_headers_are_kept_as_text_without_nul() -> None:
    headers = [(b"host", b"x.invalid"), (b"user-agent", b"Voicenter\x00/1 \xe9")]
    assert kept_headers(scope(*headers, secret=SECRET)) == {"host": "x.invalid", "user-agent": "Voicenter/1 é"}


def test_a_header_that_came_more_than_once_is_one_list() -> None:
    headers = [(b"via", b"1.1 a"), (b"host", b"x.invalid"), (b"via", b"1.1 b")]
    assert kept_headers(scope(*headers)) == {"via": "1.1 a, 1.1 b", "host": "x.invalid"}


def test_headers_that_do_not_fit_are_left_out_and_counted() -> None:
    headers = [(b"x-%d" % number, b"y" * 1020) for number in range(20)]
    kept = kept_headers(scope(*headers, (b"content-type", b"text/xml")))
    told = kept.pop("(left out)")
    assert list(kept) == ["content-type", *(f"x-{number}" for number in range(7))]
    assert sum(len(name) + len(value) for name, value in kept.items()) <= MAX_HEADER_CHARACTERS
    assert told == "13 of 13,309 characters, the first: x-7"


def test_headers_that_just_fit_are_all_kept() -> None:
    headers = [(b"a" * 4000, b"b" * 4000), (b"c" * 92, b"d" * 100)]
    assert len(kept_headers(scope(*headers))) == 2
    assert "(left out)" not in kept_headers(scope(*headers))


def test_of_a_body_that_is_kept_inflated_the_encoding_has_another_name() -> None:
    encoded = scope((b"content-encoding", b"gzip"))
    assert kept_headers(encoded) == {"content-encoding": "gzip"}
    assert kept_headers(encoded, is_inflated=True) == {"(content-encoding undone)": "gzip"}


def encode_once(draw: st.DrawFn, text: str) -> str:
    """Percent-encode a text as a proxy may: any of its characters, and each percent sign."""
    parts = []
    for character in text:
        escaped = f"%{ord(character):02x}"
        escaped = escaped.upper() if draw(st.booleans()) else escaped
        parts.append(escaped if character == "%" or draw(st.booleans()) else character)
    return "".join(parts)


@st.composite
def disguised(draw: st.DrawFn) -> str:
    """Write the secret as it is, in another case, or percent-encoded up to three times over."""
    text = draw(st.sampled_from([SECRET, SECRET.upper(), SECRET.lower()]))
    for _ in range(draw(st.integers(0, 3))):
        text = encode_once(draw, text)
    return text


def decoded(text: str) -> str:
    while (once := unquote(text, "latin-1")) != text:
        text = once
    return text.lower()


ANYTHING = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=20)
NAMES = st.text("abcxyz-%0123456789", min_size=1, max_size=10)


@given(name=NAMES, before=ANYTHING, secret=disguised(), after=ANYTHING, in_name=st.booleans())
def test_no_header_carries_the_secret_into_the_quarantine(
    name: str, before: str, secret: str, after: str, *, in_name: bool
) -> None:
    headers = [(name + secret, before)] if in_name else [(name, before + secret + after)]
    kept = kept_headers(scope(*((a.encode("latin-1"), b.encode("latin-1")) for a, b in headers), secret=SECRET))
    assert SECRET.lower() not in decoded(str(kept))


@given(before=ANYTHING, secret=disguised(), after=ANYTHING)
def test_no_query_carries_the_secret(before: str, secret: str, after: str) -> None:
    query = f"{quote(before)}={secret}&{quote(after)}".encode("latin-1")
    kept = kept_query(scope(secret=SECRET, query=query)).decode("latin-1")
    assert SECRET.lower() not in decoded(kept)
    assert kept == f"{quote(before)}=(secret)&{quote(after)}"


@pytest.mark.parametrize("secret", [None, SECRET])
def test_a_query_without_the_secret_is_kept_as_it_came(secret: str | None) -> None:
    query = b"ivruniqueid=x&a=%25%zz\xe9"
    assert kept_query(scope(secret=secret, query=query)) == query


def test_a_long_header_of_escapes_costs_little() -> None:
    assert kept_headers(scope((b"x", b"%25" * 20_000), (b"y", b"%" + b"25" * 30_000), secret=SECRET)).keys() == {
        "(left out)"
    }
