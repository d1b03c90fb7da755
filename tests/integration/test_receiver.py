"""The receiver against a real Valkey: what the sender is told, and what stands in the queue when it is told so."""

from __future__ import annotations

import gzip
import json
import os
import signal
import xmlrpc.client
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
import redis
from free_ports import free_port
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from receiving import ACCOUNT, ADDRESS, SECRET, configured, deliveries, jobs, kept, receiving
from starlette.testclient import TestClient

from api import receive_cdr
from cdr.embedded_server import running
from cdr.embedded_valkey import EmbeddedValkey
from common.errors import TooSlow

CDR = {
    "caller": "0540000000",
    "time": 1536855354,
    "ivruniqueid": "20180913161553x",
    "type": "Queue",
    "queuename": "שירות",
}
NO_ID = {"caller": "0540000000", "type": "Queue"}
XML, JSON, FORM = "text/xml", "application/json", "application/x-www-form-urlencoded"
CONTENT_TYPES = {"xmlrpc": XML, "json": JSON, "form": FORM}
FORMATS = list(CONTENT_TYPES)
UNREADABLE = {"xmlrpc": b"<methodCall><params>", "json": b'{"ivruniqueid": "x"', "form": b"a=1&" * 2001}


@pytest.fixture
def client(redis_url: str) -> Iterator[TestClient]:
    with receiving(redis_url) as client:
        yield client


def encoded(body_format: str, fields: dict[str, Any]) -> bytes:
    if body_format == "json":
        return json.dumps(fields).encode()
    if body_format == "form":
        return urlencode(fields).encode()
    return xmlrpc.client.dumps((fields,), "CDR").encode()


def post(client: TestClient, body: Any, content_type: str | None = JSON, path: str = ADDRESS, **headers: str) -> Any:
    if content_type is not None:
        headers["content-type"] = content_type
    return client.post(path, content=body, headers=headers)


def answer(response: Any) -> tuple[int, str, Any, str]:
    """Return the HTTP status, the format of a reply by its content type, err and errdesc."""
    content_type = response.headers["content-type"].partition(";")[0]
    if content_type == JSON:
        members = json.loads(response.content)
    elif content_type == FORM:
        members = {name: values[0] for name, values in parse_qs(response.text, strict_parsing=True).items()}
    else:
        assert content_type == XML
        (members,), _ = xmlrpc.client.loads(response.content)
    return response.status_code, content_type, members["err"], members["errdesc"]


def err(body_format: str, code: int) -> int | str:
    return code if body_format == "xmlrpc" else str(code)


@pytest.mark.parametrize("body_format", FORMATS)
def test_a_cdr_is_stored_and_answered_in_its_format(client: TestClient, body_format: str) -> None:
    response = post(client, encoded(body_format, CDR), CONTENT_TYPES[body_format])
    assert answer(response) == (200, CONTENT_TYPES[body_format], err(body_format, 0), "OK")


@pytest.mark.parametrize("body_format", FORMATS)
def test_what_is_answered_ok_stands_in_the_queue(client: TestClient, redis_url: str, body_format: str) -> None:
    post(client, encoded(body_format, CDR), CONTENT_TYPES[body_format])
    (delivery,) = deliveries(redis_url)
    assert (delivery.account, delivery.format, delivery.place) == (ACCOUNT, body_format, 0)
    assert delivery.fields == (CDR if body_format != "form" else {**CDR, "time": "1536855354"})


@pytest.mark.parametrize("content_type", [None, "", "text/plain", XML, "application/octet-stream", "nonsense"])
def test_the_body_tells_its_format_whatever_the_content_type_says(client: TestClient, content_type: str | None) -> None:
    assert answer(post(client, encoded("json", CDR), content_type)) == (200, JSON, "0", "OK")


@pytest.mark.parametrize("body_format", FORMATS)
def test_what_cannot_be_read_is_err_1(client: TestClient, body_format: str) -> None:
    status, content_type, code, _ = answer(post(client, UNREADABLE[body_format], CONTENT_TYPES[body_format]))
    assert (status, content_type, code) == (200, CONTENT_TYPES[body_format], err(body_format, 1))


@pytest.mark.parametrize("body_format", FORMATS)
def test_what_cannot_be_read_is_kept_as_it_came(client: TestClient, redis_url: str, body_format: str) -> None:
    told = answer(post(client, UNREADABLE[body_format], CONTENT_TYPES[body_format]))[3]
    (body,) = kept(redis_url)
    assert (body.account, body.format, body.reason) == (ACCOUNT, body_format, "unreadable")
    assert (body.body, body.error[:500]) == (UNREADABLE[body_format], told)


def test_what_is_unreadable_is_told_with_its_place(client: TestClient) -> None:
    assert answer(post(client, b'{"a": 1,\n "b":}'))[3] == "no JSON: Expecting value at line 2, column 6"


@pytest.mark.parametrize("body_format", FORMATS)
def test_fields_without_a_call_id_are_err_2(client: TestClient, body_format: str) -> None:
    response = post(client, encoded(body_format, NO_ID), CONTENT_TYPES[body_format])
    told = (200, CONTENT_TYPES[body_format], err(body_format, 2), "no call id: ivruniqueid is missing")
    assert answer(response) == told


@pytest.mark.parametrize("body_format", FORMATS)
def test_fields_without_a_call_id_are_kept(client: TestClient, redis_url: str, body_format: str) -> None:
    body = encoded(body_format, NO_ID)
    post(client, body, CONTENT_TYPES[body_format])
    assert [(each.body, each.reason) for each in kept(redis_url)] == [(body, "not_a_cdr")]
    assert deliveries(redis_url) == []


@pytest.mark.parametrize("call_id", ["x" * 513, ["x"], "a\nb"])
def test_a_bad_call_id_is_err_2_even_beside_a_probe(client: TestClient, redis_url: str, call_id: Any) -> None:
    response = post(client, encoded("json", {"test": True, "ivruniqueid": call_id}))
    assert answer(response)[2] == "2"
    assert len(kept(redis_url)) == 1


@pytest.mark.parametrize("body_format", FORMATS)
def test_a_bad_value_in_a_field_is_stored_as_it_came(client: TestClient, redis_url: str, body_format: str) -> None:
    response = post(client, encoded(body_format, {**CDR, "duration": "long"}), CONTENT_TYPES[body_format])
    assert answer(response)[2] == err(body_format, 0)
    assert deliveries(redis_url)[0].fields["duration"] == "long"


@pytest.mark.parametrize("body_format", FORMATS)
def test_a_body_over_the_limit_is_413_and_not_kept(redis_url: str, body_format: str) -> None:
    with receiving(redis_url, max_body_bytes=1024) as client:
        response = post(client, b"x" * 1025, CONTENT_TYPES[body_format].upper())
    assert answer(response)[:3] == (413, CONTENT_TYPES[body_format], err(body_format, 1))
    assert "1024" in answer(response)[3]
    assert jobs(redis_url) == []


def test_a_streamed_body_over_the_limit_is_413(redis_url: str) -> None:
    with receiving(redis_url, max_body_bytes=1024) as client:
        assert answer(post(client, iter([b"x" * 1000] * 2)))[:3] == (413, JSON, "1")


@pytest.mark.parametrize("levels", [1, 2])
def test_a_gzip_bomb_is_413(redis_url: str, levels: int) -> None:
    body = b" " * 100_000_000
    for _ in range(levels):
        body = gzip.compress(body)
    with receiving(redis_url, max_body_bytes=1_000_000) as client:
        response = post(client, body, **{"content-encoding": ", ".join(["gzip"] * levels)})
    assert answer(response)[:3] == (413, JSON, "1")


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_body_is_taken(
    client: TestClient, redis_url: str, encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    response = post(client, compress(encoded("json", CDR)), **{"content-encoding": encoding})
    assert answer(response)[2] == "0"
    assert deliveries(redis_url)[0].fields == CDR


@pytest.mark.parametrize("body_format", FORMATS)
def test_of_a_compressed_body_the_bytes_that_the_parser_saw_are_kept(
    client: TestClient, redis_url: str, body_format: str
) -> None:
    body = UNREADABLE[body_format]
    response = post(client, gzip.compress(body), None, **{"content-encoding": "gzip"})
    assert answer(response)[:3] == (200, CONTENT_TYPES[body_format], err(body_format, 1))
    assert [each.body for each in kept(redis_url)] == [body]


@pytest.mark.parametrize("encoding", ["gzip", "br"])
def test_a_body_that_cannot_be_decompressed_is_err_1_and_kept(
    client: TestClient, redis_url: str, encoding: str
) -> None:
    assert answer(post(client, b"\x1f\x8bnonsense", **{"content-encoding": encoding}))[2] == "1"
    assert [each.body for each in kept(redis_url)] == [b"\x1f\x8bnonsense"]


@pytest.mark.parametrize("body_format", FORMATS)
@pytest.mark.parametrize("body", [b"", b" \r\n\t "])
def test_an_empty_body_is_err_1_in_the_declared_format_and_not_kept(
    client: TestClient, redis_url: str, body_format: str, body: bytes
) -> None:
    response = post(client, body, CONTENT_TYPES[body_format])
    assert answer(response) == (200, CONTENT_TYPES[body_format], err(body_format, 1), "the body is empty")
    assert jobs(redis_url) == []


@pytest.mark.parametrize("body_format", FORMATS)
@pytest.mark.parametrize("probe", [{"test": True}, {"ping": "x"}, {"Test": "", "PING": 1}])
def test_a_probe_is_ok_and_not_kept(client: TestClient, redis_url: str, body_format: str, probe: Any) -> None:
    response = post(client, encoded(body_format, probe), CONTENT_TYPES[body_format])
    assert answer(response) == (200, CONTENT_TYPES[body_format], err(body_format, 0), "OK")
    assert jobs(redis_url) == []


@pytest.mark.parametrize("body_format", FORMATS)
@pytest.mark.parametrize(
    "fields",
    [
        {"ping": 1, "type": "Queue", "caller": "0540000000"},
        {"Test": "", "other": ""},
        {"test": {"ivruniqueid": "x"}},
        {"ping": ["x"]},
        {"test": "x" * 65},
    ],
)
def test_a_probe_that_holds_anything_else_is_err_2_and_kept(
    client: TestClient, redis_url: str, body_format: str, fields: Any
) -> None:
    body = encoded(
        body_format, {name: str(value) * 20 if body_format == "form" else value for name, value in fields.items()}
    )
    assert answer(post(client, body, CONTENT_TYPES[body_format]))[2] == err(body_format, 2)
    assert [each.body for each in kept(redis_url)] == [body]


def test_a_probe_of_which_a_part_was_left_out_is_kept(client: TestClient, redis_url: str) -> None:
    body = xmlrpc.client.dumps(("who knows", {"ping": 1}), "CDR").encode()
    assert answer(post(client, body, XML))[2:] == (
        2,
        "no call id: ivruniqueid is missing; params: 1 beside the CDR left out: a text",
    )
    assert [each.body for each in kept(redis_url)] == [body]


def test_a_cdr_with_a_field_named_test_is_a_cdr(client: TestClient, redis_url: str) -> None:
    post(client, encoded("json", {**CDR, "test": True}))
    assert len(deliveries(redis_url)) == 1


def test_each_element_of_an_array_is_a_delivery(client: TestClient, redis_url: str) -> None:
    assert answer(post(client, json.dumps([CDR, CDR]).encode()))[2:] == ("0", "OK")
    first, second = deliveries(redis_url)
    assert (first.place, second.place) == (0, 1)
    assert first.delivery_id == second.delivery_id


def test_the_good_of_an_array_are_stored_and_the_bad_told(client: TestClient, redis_url: str) -> None:
    response = post(client, json.dumps([CDR, NO_ID, 5, CDR]).encode())
    told = (200, JSON, "2", "2 of 4: element 1: no call id: ivruniqueid is missing")
    assert answer(response) == told
    assert [each.place for each in deliveries(redis_url)] == [0, 3]


def test_each_bad_element_of_an_array_is_kept_by_itself(client: TestClient, redis_url: str) -> None:
    post(client, json.dumps([CDR, NO_ID, 5, None, "x"]).encode())
    assert [json.loads(each.body) for each in kept(redis_url)] == [NO_ID, 5, None, "x"]


def test_the_structs_of_a_call_are_deliveries_like_those_of_an_array(client: TestClient, redis_url: str) -> None:
    structs = [{"ivruniqueid": "one"}, {"ivruniqueid": "two"}, {"type": "Queue"}]
    told = answer(post(client, xmlrpc.client.dumps(tuple(structs), "CDR").encode(), XML))
    assert told[2:] == (2, "1 of 3: element 2: no call id: ivruniqueid is missing")
    assert [(each.place, each.fields) for each in deliveries(redis_url)] == [(0, structs[0]), (1, structs[1])]
    assert [json.loads(each.body) for each in kept(redis_url)] == [structs[2]]


def test_what_a_multicall_holds_is_kept(client: TestClient, redis_url: str) -> None:
    calls = [{"methodName": "CDR", "params": [{"ivruniqueid": "x"}]}]
    assert answer(post(client, xmlrpc.client.dumps((calls,), "system.multicall").encode(), XML))[2] == 2
    assert [json.loads(each.body) for each in kept(redis_url)] == calls


def test_the_quarantine_tells_what_reading_a_bad_element_cost(client: TestClient, redis_url: str) -> None:
    post(client, b'[{"caller": "05", "caller": "06"}]')
    told = "no call id: ivruniqueid is missing; caller: sent more than once: the last stands, not '05'"
    assert [each.error for each in kept(redis_url)] == [told]


def test_of_a_repeated_name_both_values_reach_the_queue(client: TestClient, redis_url: str) -> None:
    assert answer(post(client, b'{"ivruniqueid": "x", "caller": "05", "caller": "06"}'))[2] == "0"
    (stored,) = deliveries(redis_url)
    assert (stored.fields["caller"], stored.notes) == (
        "06",
        ("caller: sent more than once: the last stands, not '05'",),
    )


def test_an_empty_array_is_err_2_and_kept(client: TestClient, redis_url: str) -> None:
    assert answer(post(client, b"[]"))[2:] == ("2", "the array is empty")
    assert [each.body for each in kept(redis_url)] == [b"[]"]


def test_a_large_array_is_several_jobs_of_one_delivery(client: TestClient, redis_url: str) -> None:
    assert answer(post(client, json.dumps([CDR] * 2500).encode()))[2] == "0"
    assert [job.description for job in jobs(redis_url)] == ["load 1000", "load 1000", "load 500"]
    assert [each.place for each in deliveries(redis_url)] == list(range(2500))


def test_a_get_with_a_call_id_is_a_cdr_answered_as_a_form(client: TestClient, redis_url: str) -> None:
    response = client.get(ADDRESS, params={"ivruniqueid": "x", "caller": "0540000000"})
    assert answer(response) == (200, FORM, "0", "OK")
    assert deliveries(redis_url)[0].fields == {"ivruniqueid": "x", "caller": "0540000000"}


@pytest.mark.parametrize("query", ["", "?", "?test=1", "?caller=0540000000", "?ivruniqueid="])
def test_a_get_without_a_call_id_is_told_ready(client: TestClient, redis_url: str, query: str) -> None:
    response = client.get(ADDRESS + query)
    assert (response.status_code, response.text) == (200, "ready")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert jobs(redis_url) == []


def test_a_get_with_a_bad_call_id_is_err_2_and_kept(client: TestClient, redis_url: str) -> None:
    query = urlencode({"ivruniqueid": "x" * 513})
    assert answer(client.get(f"{ADDRESS}?{query}"))[:3] == (200, FORM, "2")
    assert [each.body for each in kept(redis_url)] == [query.encode()]


def test_a_get_that_cannot_be_read_is_err_1_as_a_form(client: TestClient, redis_url: str) -> None:
    assert answer(client.get(f"{ADDRESS}?{'a&' * 2001}"))[:3] == (200, FORM, "1")
    assert len(kept(redis_url)) == 1


def test_a_head_only_asks(client: TestClient, redis_url: str) -> None:
    response = client.head(ADDRESS, params={"ivruniqueid": "x"})
    assert response.status_code == 200
    assert jobs(redis_url) == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CDR"])
@pytest.mark.parametrize("path", [ADDRESS, f"{ADDRESS}/", "/cdr/wrong", "/cdr"])
def test_other_methods_are_refused_in_plain_text_whatever_the_secret(
    client: TestClient, redis_url: str, method: str, path: str
) -> None:
    response = client.request(method, path, content=encoded("json", CDR))
    assert (response.status_code, response.text) == (405, "method not allowed")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["allow"] == "GET, HEAD, POST"
    assert SECRET not in str(response.headers)
    assert jobs(redis_url) == []


@pytest.mark.parametrize(
    "path",
    [
        "/cdr/wrong",
        "/cdr",
        "/cdr/",
        f"/cdr/{SECRET}x",
        f"/cdr/{SECRET.upper()}",
        f"/cdr/{SECRET}%00",
        f"/cdr/{SECRET}/x",
        "/",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_wrong_secret_is_404(client: TestClient, redis_url: str, path: str, method: str) -> None:
    assert client.request(method, path, params={"ivruniqueid": "x"}).status_code == 404
    assert jobs(redis_url) == []


@pytest.mark.parametrize("path", [ADDRESS, f"{ADDRESS}/", f"/cdr/%61{SECRET[1:]}", f"{ADDRESS}?x=1"])
def test_the_address_may_be_spelled_in_several_ways(client: TestClient, path: str) -> None:
    assert answer(post(client, encoded("json", CDR), path=path))[2] == "0"


@pytest.mark.parametrize("path", ["/livez/", "/readyz/", f"{ADDRESS}//", "/cdr//"])
def test_no_post_is_sent_elsewhere(client: TestClient, path: str) -> None:
    assert client.post(path).status_code == 404


@pytest.mark.parametrize("path", ["/cdr", "/cdr/"])
def test_without_secrets_the_bare_address_is_the_default_account(redis_url: str, path: str) -> None:
    with receiving(redis_url, receiver_secrets=()) as client:
        assert answer(post(client, encoded("json", CDR), path=path))[2] == "0"
    assert deliveries(redis_url)[0].account == "default"


@pytest.mark.parametrize("encoding", ["gzip", "br"])
def test_headers_tell_whether_what_is_kept_is_still_encoded(client: TestClient, redis_url: str, encoding: str) -> None:
    post(client, gzip.compress(b"nonsense"), **{"content-encoding": encoding})
    undone, left = ("gzip", None) if encoding == "gzip" else (None, "br")
    headers = kept(redis_url)[0].headers
    assert (headers.get("(content-encoding undone)"), headers.get("content-encoding")) == (undone, left)


def test_a_query_is_kept_with_no_encoding_left_to_undo(client: TestClient, redis_url: str) -> None:
    client.get(f"{ADDRESS}?ivruniqueid=a%01", headers={"content-encoding": "gzip"})
    headers = kept(redis_url)[0].headers
    assert (headers.get("(content-encoding undone)"), headers.get("content-encoding")) == ("gzip", None)


def test_the_parts_of_a_repeated_header_count_as_its_list(client: TestClient, redis_url: str) -> None:
    headers = [("content-encoding", "gzip"), ("content-encoding", "gzip")]
    response = client.post(ADDRESS, content=gzip.compress(gzip.compress(encoded("json", CDR))), headers=headers)
    assert answer(response)[2] == "0"
    assert deliveries(redis_url)[0].fields == CDR


@pytest.mark.parametrize("quoted", [SECRET, SECRET.replace("s", "%73"), SECRET.replace("s", "%2573")])
def test_the_secret_in_a_query_is_not_kept(client: TestClient, redis_url: str, quoted: str) -> None:
    client.get(f"{ADDRESS}?ivruniqueid=x&note=to+{quoted}")
    client.get(f"{ADDRESS}?ivruniqueid={quoted}%01&caller=1")
    assert [each.fields for each in deliveries(redis_url)] == [
        {"ivruniqueid": "x", "note": "(secret)"},
        {"ivruniqueid": "(secret)", "caller": "1"},
    ]
    assert "secret-of" not in client.get("/metrics").text


def test_the_headers_of_a_post_are_kept_with_its_first_bad_element(client: TestClient, redis_url: str) -> None:
    post(client, json.dumps([CDR, NO_ID, 5, "x"]).encode(), **{"user-agent": "Voicenter", "x-long": "y" * 5000})
    first, *others = kept(redis_url)
    assert first.headers["user-agent"] == "Voicenter"
    assert [each.headers for each in others] == [{"(headers)": "with the first bad element of the same post"}] * 2
    assert {each.received_at_us for each in others} == {first.received_at_us}


def test_headers_are_kept_without_secrets(client: TestClient, redis_url: str) -> None:
    secrets = {"authorization": "Basic x", "cookie": "a=b", "x-original-uri": ADDRESS, "x-note": f"to {ADDRESS}"}
    post(client, b"nonsense", **secrets, **{"user-agent": "Voicenter"})
    headers = kept(redis_url)[0].headers
    assert headers["user-agent"] == "Voicenter"
    assert not secrets.keys() & headers.keys()
    assert SECRET not in str(headers)


def test_past_a_days_bound_bodies_are_answered_and_not_kept(redis_url: str) -> None:
    with receiving(redis_url, quarantine_bytes_per_day=1000) as client:
        assert [answer(post(client, b"nonsense" * 50))[2] for _ in range(2)] == ["1", "1"]
        assert metric(client, 'cdr_received_total{format="json",result="quarantine_full"}') == 1
    assert len(kept(redis_url)) == 1


def test_headers_count_towards_a_days_bound(redis_url: str) -> None:
    with receiving(redis_url, quarantine_bytes_per_day=1000) as client:
        assert answer(post(client, b"nonsense", **{"x-long": "y" * 1000}))[2] == "1"
    assert kept(redis_url) == []


def test_a_body_that_could_not_be_stored_takes_nothing_of_the_days_bound(redis_url: str) -> None:
    with receiving(redis_url, quarantine_bytes_per_day=1000) as client:
        with configured(redis_url, appendonly="no"):
            refused = [answer(post(client, b"nonsense" * 50))[0] for _ in range(5)]
        assert refused == [503] * 5
        assert answer(post(client, b"other" * 50))[0] == 200
    assert [each.body for each in kept(redis_url)][-1:] == [b"other" * 50]


@pytest.mark.parametrize("body_format", FORMATS)
def test_debugging_adds_what_was_sent_and_got(redis_url: str, body_format: str) -> None:
    with receiving(redis_url, receiver_debug=True) as client:
        response = post(client, encoded(body_format, {"ivruniqueid": "x"}), CONTENT_TYPES[body_format])
    assert answer(response)[2] == err(body_format, 0)
    assert "origrequest" in response.text
    assert "got" in response.text


@pytest.mark.parametrize("many", [False, True])
def test_debugging_shows_the_fields_and_the_call_id(redis_url: str, many: bool) -> None:
    with receiving(redis_url, receiver_debug=True) as client:
        shown = post(client, json.dumps([CDR] if many else CDR).encode()).json()
    assert shown["origrequest"] == ([CDR] if many else CDR)
    got = {"call_id": CDR["ivruniqueid"], "fields": sorted(CDR)}
    assert shown["got"] == ([got] if many else got)


def test_without_debugging_nothing_is_added(client: TestClient) -> None:
    assert post(client, encoded("json", CDR)).json() == {"err": "0", "errdesc": "OK"}


@pytest.mark.parametrize("body_format", FORMATS)
def test_a_bug_of_ours_costs_no_body(
    client: TestClient, redis_url: str, monkeypatch: pytest.MonkeyPatch, body_format: str
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a secret of the code")

    monkeypatch.setattr(receive_cdr, "read_body", broken)
    body = encoded(body_format, CDR)
    response = post(client, body, CONTENT_TYPES[body_format])
    told = (200, CONTENT_TYPES[body_format], err(body_format, 1), "the receiver failed at it: ZeroDivisionError")
    assert answer(response) == told
    assert [each.body for each in kept(redis_url)] == [body]


def test_a_bug_of_ours_costs_no_get(client: TestClient, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receive_cdr, "read_query", lambda _: 1 // 0)
    assert answer(client.get(f"{ADDRESS}?ivruniqueid=x"))[:3] == (200, FORM, "1")
    assert [each.body for each in kept(redis_url)] == [b"ivruniqueid=x"]


def test_a_body_that_does_not_end_in_time_is_408(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(*_: object) -> None:
        raise TooSlow("the body did not end within 30 s")

    monkeypatch.setattr(receive_cdr, "read_whole_body", slow)
    assert answer(post(client, encoded("json", CDR)))[:3] == (408, JSON, "2")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    body=st.binary() | st.text().map(str.encode) | st.sampled_from([encoded(each, CDR) for each in FORMATS]),
    content_type=st.text(st.characters(min_codepoint=32, max_codepoint=126)) | st.sampled_from([XML, JSON, FORM]),
    encoding=st.sampled_from(["", "gzip", "deflate", "br", "gzip, gzip"]),
)
def test_any_bytes_are_answered_in_one_of_the_formats(
    client: TestClient, body: bytes, content_type: str, encoding: str
) -> None:
    response = post(client, body, content_type.strip(), **({"content-encoding": encoding} if encoding else {}))
    status, _, code, _ = answer(response)
    assert status in {200, 408, 413}
    assert str(code) in {"0", "1", "2"}


def test_livez_is_ok(client: TestClient) -> None:
    response = client.get("/livez")
    assert (response.status_code, response.text) == (200, "ok\n")


def test_readyz_tells_the_level(client: TestClient) -> None:
    response = client.get("/readyz")
    assert response.status_code == 200
    told = {"ready": True, "ack_level": "fsync", "stores_in": "redis", "reason": None, "spool": None}
    assert response.json() == told


def test_many_may_ask_at_once_whether_it_is_ready(client: TestClient) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: client.get("/readyz").status_code, range(48)))
    assert set(answers) == {200}


def test_without_an_append_only_file_it_is_not_ready(client: TestClient, redis_url: str) -> None:
    with configured(redis_url, appendonly="no"):
        response = client.get("/readyz")
    assert response.status_code == 503
    assert "append-only file off" in response.json()["reason"]


def test_a_redis_that_evicts_is_not_ready(client: TestClient, redis_url: str) -> None:
    with configured(redis_url, maxmemory="100mb", maxmemory_policy="allkeys-lru"):
        response = client.get("/readyz")
    assert response.status_code == 503
    assert "allkeys-lru" in response.json()["reason"]


def test_at_level_redis_no_append_only_file_is_needed(redis_url: str) -> None:
    with receiving(redis_url, {"ack_level": "redis"}) as client, configured(redis_url, appendonly="no"):
        told = client.get("/readyz").json()
        assert told == {"ready": True, "ack_level": "redis", "stores_in": "redis", "reason": None, "spool": None}
        assert answer(post(client, encoded("json", CDR)))[2] == "0"
    assert len(deliveries(redis_url)) == 1


@pytest.mark.parametrize("body_format", FORMATS)
def test_what_redis_cannot_confirm_is_to_be_sent_again(client: TestClient, redis_url: str, body_format: str) -> None:
    with configured(redis_url, appendonly="no"):
        response = post(client, encoded(body_format, CDR), CONTENT_TYPES[body_format])
    assert answer(response) == (503, CONTENT_TYPES[body_format], err(body_format, 2), "try again")
    assert response.headers["retry-after"] == "10"


def test_a_bad_body_that_cannot_be_kept_is_to_be_sent_again(client: TestClient, redis_url: str) -> None:
    with configured(redis_url, appendonly="no"):
        assert answer(post(client, b"nonsense"))[:3] == (503, JSON, "2")


def test_without_the_replicas_that_were_asked_for_it_is_to_be_sent_again(redis_url: str) -> None:
    with receiving(redis_url, {"ack_replicas": 1, "ack_timeout_ms": 200}) as client:
        assert answer(post(client, encoded("json", CDR)))[:3] == (503, JSON, "2")


def test_a_full_redis_is_to_be_sent_again_and_afterwards_works(client: TestClient, redis_url: str) -> None:
    with configured(redis_url, maxmemory="1"):
        assert answer(post(client, encoded("json", CDR)))[:3] == (503, JSON, "2")
    assert answer(post(client, encoded("json", CDR)))[2] == "0"
    assert len(deliveries(redis_url)) == 1


def test_a_wrong_type_under_a_key_of_ours_is_told(client: TestClient, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        connection.set("rq:queue:cdrs", "no list")
        assert answer(post(client, encoded("json", CDR)))[:3] == (503, JSON, "2")


def test_a_read_only_redis_is_to_be_sent_again_and_is_not_ready(client: TestClient, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        connection.replicaof("127.0.0.1", "1")
        try:
            assert answer(post(client, encoded("json", CDR)))[:3] == (503, JSON, "2")
            assert client.get("/readyz").status_code == 503
        finally:
            connection.replicaof("NO", "ONE")
    assert answer(post(client, encoded("json", CDR)))[2] == "0"


def test_a_redis_that_does_not_answer_in_time_is_to_be_sent_again(redis_url: str) -> None:
    with receiving(redis_url, {"ack_timeout_ms": 100}) as client, redis.Redis.from_url(redis_url) as connection:
        connection.client_pause(60_000, all=False)
        try:
            assert answer(post(client, encoded("json", CDR)))[:3] == (503, JSON, "2")
        finally:
            connection.client_unpause()
        # An answer of Redis to the first write that came now must not be taken for one to the second.
        assert answer(post(client, encoded("json", {**CDR, "ivruniqueid": "second"})))[2] == "0"
    assert "second" in {each.fields["ivruniqueid"] for each in deliveries(redis_url)}


def test_a_connection_that_redis_closed_while_idle_costs_no_answer(client: TestClient, redis_url: str) -> None:
    assert answer(post(client, encoded("json", CDR)))[2] == "0"
    with redis.Redis.from_url(redis_url) as connection:
        connection.client_kill_filter(_type="normal", skipme=True)
    assert answer(post(client, encoded("json", CDR)))[2] == "0"


@pytest.fixture
def own_valkey(tmp_path: Path) -> EmbeddedValkey:
    return EmbeddedValkey(tmp_path / "valkey", free_port(), "only-for-tests")


@pytest.mark.parametrize("body_format", FORMATS)
def test_without_redis_it_is_to_be_sent_again_in_the_senders_format(
    own_valkey: EmbeddedValkey, body_format: str
) -> None:
    with receiving(own_valkey.url()) as client:
        response = post(client, encoded(body_format, CDR), CONTENT_TYPES[body_format])
        ready = client.get("/readyz")
        metrics = client.get("/metrics")
    assert answer(response) == (503, CONTENT_TYPES[body_format], err(body_format, 2), "try again")
    assert response.headers["retry-after"] == "10"
    assert ready.status_code == 503
    assert metrics.status_code == 200


def test_a_redis_that_comes_back_needs_no_restart(own_valkey: EmbeddedValkey) -> None:
    codes, gauges = [], []
    with receiving(own_valkey.url()) as client:
        for turn in range(2):
            with running(own_valkey):
                codes.append(answer(post(client, encoded("json", CDR)))[2])
                gauges.append(f'cdr_queue_jobs{{queue="cdrs"}} {turn + 1}.0' in client.get("/metrics").text)
            codes.append(answer(post(client, encoded("json", CDR)))[2])
            gauges.append("cdr_queue_jobs" in client.get("/metrics").text)
    assert codes == ["0", "2", "0", "2"]
    assert gauges == [True, False, True, False]


def test_what_was_acked_is_there_after_redis_was_killed(own_valkey: EmbeddedValkey) -> None:
    ids = [str(number) for number in range(200)]
    with receiving(own_valkey.url()) as client, running(own_valkey):
        with ThreadPoolExecutor(8) as pool:
            bodies = [encoded("json", {"ivruniqueid": each}) for each in ids]
            codes = [answer(each)[2] for each in pool.map(lambda body: post(client, body), bodies)]
        with redis.Redis.from_url(own_valkey.url()) as connection:
            process = connection.info("server")["process_id"]
        _kill_and_wait(process, own_valkey)
    assert codes == ["0"] * 200
    with running(own_valkey):
        assert sorted(each.fields["ivruniqueid"] for each in deliveries(own_valkey.url())) == sorted(ids)


def _kill_and_wait(process: int, server: EmbeddedValkey) -> None:
    os.kill(process, signal.SIGKILL)
    while server.is_ready():
        pass


def metric(client: TestClient, line: str) -> float:
    lines = dict(each.rsplit(" ", 1) for each in client.get("/metrics").text.splitlines() if not each.startswith("#"))
    return float(lines[line])


def test_metrics_count_by_format_and_result(client: TestClient) -> None:
    post(client, json.dumps([CDR, CDR, NO_ID]).encode())
    post(client, b"")
    post(client, b'{"test": true}')
    post(client, UNREADABLE["xmlrpc"])
    shown = {
        result: metric(client, f'cdr_received_total{{format="{body_format}",result="{result}"}}')
        for body_format, result in [
            ("json", "stored"),
            ("json", "not_a_cdr"),
            ("json", "empty"),
            ("json", "probe"),
            ("xmlrpc", "unreadable"),
        ]
    }
    assert shown == {"stored": 2, "not_a_cdr": 1, "empty": 1, "probe": 1, "unreadable": 1}


def test_metrics_tell_how_long_senders_waited(client: TestClient) -> None:
    post(client, encoded("json", CDR))
    assert metric(client, "cdr_ack_seconds_count") == 1


def test_metrics_tell_the_state_of_each_queue(client: TestClient, redis_url: str) -> None:
    post(client, encoded("json", CDR))
    with redis.Redis.from_url(redis_url) as connection:
        connection.zadd("rq:failed:cdrs", {"one": 1, "two": 2})
        connection.hset("cdr:counters", mapping={"loaded": 7, "refused": 3, "recovered": 2, "orphans": 1})
        connection.rpush("rq:queue:hooks", "a job without a hash")
    assert metric(client, 'cdr_queue_jobs{queue="cdrs"}') == 1
    assert 0 <= metric(client, 'cdr_queue_oldest_seconds{queue="cdrs"}') < 60
    assert metric(client, 'cdr_queue_oldest_seconds{queue="hooks"}') == 0
    assert metric(client, 'cdr_failed_jobs{queue="cdrs"}') == 2
    assert metric(client, "cdr_loaded_total") == 7
    assert metric(client, "cdr_refused_total") == 3
    assert metric(client, "cdr_recovered_total") == 2
    assert metric(client, "cdr_orphans_total") == 1


def test_what_senders_send_makes_no_new_metrics(client: TestClient) -> None:
    for number in range(5):
        post(client, f"nonsense {number}".encode(), f"text/x-{number}")
    names = {
        each.split(" ")[0] for each in client.get("/metrics").text.splitlines() if each.startswith("cdr_received_total")
    }
    assert names == {'cdr_received_total{format="json",result="unreadable"}'}


def test_wrong_secrets_leave_no_trace_in_the_metrics(client: TestClient) -> None:
    client.get("/cdr/wrong-secret")
    assert "wrong" not in client.get("/metrics").text
