"""A list of hosts allows what it names, however that is spelled, and nothing that only looks like it."""

from __future__ import annotations

import ipaddress

import pytest

from common.errors import RecordingRefused
from common.host_list import HostList
from worker.recordings.address_guard import AddressGuard
from worker.recordings.safe_http import checked, host_of

BUCKET = "starkey-centrex-recordings"


def allows(hosts: str, url: str) -> bool:
    """Ask as a fetch does, so that what is compared is what would be sent."""
    try:
        checked(url, AddressGuard(hosts=HostList.parse(hosts)))
    except RecordingRefused:
        return False
    return True


@pytest.mark.parametrize(
    "url",
    [
        f"http://{BUCKET}.s3.amazonaws.com/2018091316261401072764f-c3eb6844c-aws-AAPINF-zL-972523258000.mp3",
        f"https://{BUCKET}.s3.eu-west-1.amazonaws.com/1.mp3",
        f"https://{BUCKET}.s3-eu-west-1.amazonaws.com/1.mp3",
        f"https://{BUCKET}.s3.dualstack.eu-west-1.amazonaws.com/1.mp3",
        f"https://s3.amazonaws.com/{BUCKET}/1.mp3",
        f"https://s3.eu-west-1.amazonaws.com/{BUCKET}/1.mp3?X-Amz-Signature=1",
        f"https://s3-eu-west-1.amazonaws.com/{BUCKET}/1.mp3",
        "https://cpanel.voicenter.co.il/CallsHistory/PlayRecord/1-aws.mp3",
        "https://a.b.voicenter.com/1.mp3",
        "http://voicenter.co/1.mp3",
        "HTTP://CPanel.Voicenter.CO.IL./1.mp3",
    ],
)
def test_the_provider_s_recordings_are_allowed(url: str) -> None:
    assert allows("provider", url)


@pytest.mark.parametrize(
    "url",
    [
        "https://voicenter.com.evil.invalid/1.mp3",
        "https://evilvoicenter.com/1.mp3",
        "https://voicenter.org/1.mp3",
        "https://voicenter.com%2eevil.invalid/1.mp3",
        f"https://another-bucket.s3.amazonaws.com/{BUCKET}/1.mp3",
        f"https://x.{BUCKET}.s3.amazonaws.com/1.mp3",
        f"https://{BUCKET}.s3.a.b.amazonaws.com/1.mp3",
        f"https://{BUCKET}.s3.amazonaws.com.evil.invalid/1.mp3",
        "https://s3.amazonaws.com/another-bucket/1.mp3",
        f"https://s3.amazonaws.com/{BUCKET}",
        f"https://s3.amazonaws.com/{BUCKET}-too/1.mp3",
        f"https://s3.amazonaws.com/{BUCKET}/../another-bucket/1.mp3",
        f"https://s3.amazonaws.com/{BUCKET}/%2e%2e/another-bucket/1.mp3",
        f"https://s3.amazonaws.com/{BUCKET}/%2E./another-bucket/1.mp3",
        f"https://s3.amazonaws.com/{BUCKET}/..%2fanother-bucket/1.mp3",
        f"https://s3.amazonaws.com/{BUCKET}/..%5Canother-bucket/1.mp3",
        f"https://s3.amazonaws.com/{BUCKET}//../../another-bucket/1.mp3",
        f"https://s3.amazonaws.com//{BUCKET}/1.mp3",
        f"https://s3.amazonaws.com/another-bucket/1.mp3?/{BUCKET}/",
        f"https://s3.amazonaws.com/another-bucket/1.mp3#/{BUCKET}/",
        "https://1.1.1.1/1.mp3",
        "https://[2606:4700::1111]/1.mp3",
    ],
)
def test_what_only_looks_like_the_provider_s_is_not(url: str) -> None:
    assert not allows("provider", url)


@pytest.mark.parametrize(
    ("hosts", "url"),
    [
        ("open", "https://anything.invalid/1.mp3"),
        ("provider, audio.invalid", "https://audio.invalid/1.mp3"),
        ("AUDIO.invalid.", "https://audio.INVALID/1.mp3"),
        ("*.audio.invalid", "https://a.b.audio.invalid/1.mp3"),
        ("rec-*.audio.invalid", "https://rec-7.audio.invalid/1.mp3"),
        ("*-rec.*.audio.invalid", "https://a-rec.b.audio.invalid/1.mp3"),
        ("audio.invalid/a/b/", "https://audio.invalid/a/b/1.mp3"),
        ("audio.invalid/", "https://audio.invalid"),
        ("הקלטות.invalid", "https://הקלטות.invalid/1.mp3"),
        ("הקלטות.invalid", "https://xn--8dbcip8cva.invalid/1.mp3"),
        ("recorder", "http://recorder/1.mp3"),
        ("192.0.2.1", "http://192.0.2.1/1.mp3"),
    ],
)
def test_a_host_is_allowed_by_its_pattern(hosts: str, url: str) -> None:
    assert allows(hosts, url)


@pytest.mark.parametrize(
    ("hosts", "url"),
    [
        ("*.audio.invalid", "https://audio.invalid/1.mp3"),
        ("*.audio.invalid", "https://.audio.invalid/1.mp3"),
        ("rec-*.audio.invalid", "https://rec-.audio.invalid/1.mp3"),
        ("rec-*.audio.invalid", "https://rec-a.b.audio.invalid/1.mp3"),
        ("audio.invalid", "https://audioxinvalid/1.mp3"),
        ("audio.invalid/a/", "https://audio.invalid/A/1.mp3"),
        ("audio.invalid/a/", "https://audio.invalid/1.mp3"),
        ("audio.invalid", "https://audio.invalid@evil.invalid/1.mp3"),
        ("audio.invalid", "https://evil.invalid\\@audio.invalid/1.mp3"),
        ("audio.invalid", "https://evil.invalid#@audio.invalid/1.mp3"),
        ("127.0.0.1", "http://2130706433/1.mp3"),
    ],
)
def test_a_host_is_not_allowed_by_a_pattern_that_does_not_fit(hosts: str, url: str) -> None:
    assert not allows(hosts, url)


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "*.com",
        "*.*",
        "a.*",
        "audio*.invalid",
        "open,audio.invalid",
        "https://audio.invalid",
        "audio.invalid:443",
        "audio.invalid/a",
        "audio.invalid/../",
        "audio.invalid/a//",
        "audio.invalid/*/",
        "audio.invalid/a%2f/",
        "user@audio.invalid",
        "-audio.invalid",
        "audio..invalid",
        "audio invalid",
        "[::1]",
        "ü" * 64 + ".invalid",
    ],
)
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"host|path|open"):
        HostList.parse(text)


def test_an_address_within_an_allowed_network_need_not_be_listed_and_a_name_must() -> None:
    guard = AddressGuard([ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")])

    assert host_of(checked("http://127.0.0.1:8080/1.mp3", guard)) == "127.0.0.1:8080"
    assert host_of(checked("http://[::1]/1.mp3", guard)) == "[::1]"
    assert host_of(checked("http://[::ffff:127.0.0.1]/1.mp3", guard)) == "[::ffff:127.0.0.1]"
    for url in ("http://localhost/1.mp3?X-Amz-Signature=secret", "http://2130706433/1.mp3", "http://0x7f.1/1.mp3"):
        with pytest.raises(RecordingRefused, match=r"^[a-z0-9.]+ is not in CDR_RECORDING_HOSTS$"):
            checked(url, guard)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "10.1.2.3"])
def test_an_address_that_no_list_could_allow_is_told_with_the_setting_that_can(host: str) -> None:
    with pytest.raises(RecordingRefused, match=r" is no public address, and is not in CDR_RECORDING_ALLOW_NETWORKS$"):
        checked(f"http://{host}/1.mp3", AddressGuard())


def test_a_name_that_is_longer_than_names_are_is_told_in_part() -> None:
    with pytest.raises(RecordingRefused) as refused:
        checked("http://" + "a." * 5000 + "invalid/", AddressGuard())
    assert len(str(refused.value)) < 300
