"""The address of the recording store is read, and what is none is refused without repeating it."""

from __future__ import annotations

import pytest

from common.store_url import StoreAddress, read_store_url


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("file:///var/re%20cordings", StoreAddress("file", "", "/var/re cordings")),
        ("file:///what%3F/%23", StoreAddress("file", "", "/what?/#")),
        ("s3://bucket", StoreAddress("s3", "bucket", "")),
        ("s3://bucket/", StoreAddress("s3", "bucket", "")),
        ("s3://Bucket.with.dots/a/b%20c/", StoreAddress("s3", "Bucket.with.dots", "a/b c")),
        ("gs://bucket/a", StoreAddress("gs", "bucket", "a")),
        ("az://container/a", StoreAddress("az", "container", "a")),
    ],
)
def test_an_address_is_read(url: str, address: StoreAddress) -> None:
    assert read_store_url(url) == address


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("file:///var/re%20cordings/", "/var/re cordings/acme/a%2Fb.mp3"),
        ("s3://bucket", "s3://bucket/acme/a%2Fb.mp3"),
        ("gs://bucket/x/y/", "gs://bucket/x/y/acme/a%2Fb.mp3"),
        ("az://container/x", "az://container/x/acme/a%2Fb.mp3"),
    ],
)
def test_an_object_has_a_location(url: str, location: str) -> None:
    assert read_store_url(url).location("acme/a%2Fb.mp3") == location


@pytest.mark.parametrize(
    "url",
    [
        "/var/hush",
        "",
        "file://hush/x",
        "file:hush",
        "file:///hush?x=1",
        "s3:///hush",
        "s3://",
        "s3://hush:80/x",
        "s3://user:hush@bucket/x",
        "s3://bucket/x?signature=hush",
        "s3://bucket/x#hush",
        "s3://bucket/hush/../x",
        "s3://bucket/hush//x",
        "s3://bucket/./hush",
        "http://hush/x",
        "memory:///hush",
        "s3://[hush",
    ],
)
def test_what_is_no_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r"must be|takes no|in its prefix") as told:
        read_store_url(url)
    assert "hush" not in str(told.value)
