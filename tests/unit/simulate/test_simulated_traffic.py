from __future__ import annotations

import json
from collections import Counter, defaultdict
from itertools import islice

import pytest

from cdr.simulate.calls import CallFactory
from cdr.simulate.traffic import TRAFFIC_FORMATS, Post, SentCdr, TrafficFormat, make_posts


def posts(count: int, traffic_format: TrafficFormat = "mixed", seed: int = 11) -> list[Post]:
    return list(make_posts(CallFactory(seed), seed, traffic_format, count))


def deliveries_of(stream: list[Post]) -> dict[SentCdr, list[Post]]:
    found = defaultdict(list)
    for post in stream:
        for cdr in post.cdrs:
            found[cdr].append(post)
    return found


@pytest.mark.parametrize("traffic_format", TRAFFIC_FORMATS)
def test_the_same_seed_makes_the_same_bytes(traffic_format: TrafficFormat) -> None:
    assert posts(500, traffic_format) == posts(500, traffic_format)


@pytest.mark.parametrize("count", [1, 2, 3, 500])
def test_as_many_distinct_cdrs_are_posted_as_asked_for(count: int) -> None:
    assert len(deliveries_of(posts(count))) == count


def test_without_a_count_the_stream_goes_on() -> None:
    stream = make_posts(CallFactory(1), 1)
    assert all(next(stream).cdrs for _ in range(3000))


def test_the_stream_ends_with_its_calls_and_their_second_deliveries() -> None:
    calls = list(islice(CallFactory(1), 400))
    stream = list(make_posts(calls, 1))
    assert len(deliveries_of(stream)) == sum(map(len, calls))
    assert sum(len(post.cdrs) for post in stream) > sum(map(len, calls))


def test_a_small_share_is_delivered_twice_and_none_more_often() -> None:
    times = Counter(len(found) for found in deliveries_of(posts(10_000)).values())
    assert set(times) == {1, 2}
    assert 200 < times[2] < 400


def test_a_second_delivery_has_all_that_the_first_had_and_sometimes_more() -> None:
    pairs = [
        [json.loads(post.body) for post in found]
        for found in deliveries_of(posts(10_000, "json")).values()
        if len(found) == 2
    ]
    assert all(first.items() <= second.items() | {("record", "")} for first, second in map(comparable, pairs))
    assert any(first == second for first, second in pairs)
    assert any(not first["record"] and second["record"] for first, second in pairs)
    assert any("aiData" not in first and "aiData" in second for first, second in pairs)


def comparable(pair: list[dict[str, object]]) -> list[dict[str, str]]:
    return [{name: str(value) for name, value in cdr.items()} for cdr in pair]


def test_every_delivery_says_the_identity_that_the_post_claims() -> None:
    for post in posts(3000, "json"):
        cdr = json.loads(post.body)
        names = ("ivruniqueid", "type", "time", "callerextension", "targetextension")
        assert post.cdrs == (tuple(cdr[name] for name in names),)


def test_an_array_holds_all_legs_of_a_call() -> None:
    arrays = [post for post in posts(10_000) if len(post.cdrs) > 1]
    assert arrays
    for post in arrays:
        assert [cdr["type"] for cdr in json.loads(post.body)] == [cdr.call_type for cdr in post.cdrs]


def test_mixed_traffic_has_all_formats_and_few_oddities() -> None:
    kinds = Counter((post.body[:1], post.content_type) for post in posts(5000))
    assert {start for start, _ in kinds} == {b"{", b"[", b"<", b"c"}
    usual = {(b"{", "application/json"), (b"<", "text/xml"), (b"c", "application/x-www-form-urlencoded")}
    assert 0.9 < sum(kinds[kind] for kind in usual) / kinds.total() < 0.99


@pytest.mark.parametrize(("traffic_format", "start"), [("json", b"{"), ("xmlrpc", b"<"), ("form", b"caller=")])
def test_one_format_has_no_oddities(traffic_format: TrafficFormat, start: bytes) -> None:
    stream = posts(500, traffic_format)
    assert all(post.body.startswith(start) for post in stream)
    assert len({post.content_type for post in stream}) == 1
