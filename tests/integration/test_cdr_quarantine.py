"""`cdr quarantine`: what was no CDR is listed and shown as it came, and loads once a decoder can read it."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import sys
import time
import zlib
from typing import Any

import pytest
from command_line import RECEIVED_AT_US, Product, product

from common.delivery import QuarantinedBody
from common.postgres import Database
from worker.quarantine import keep

__all__ = ["product"]

CDR = {
    "ivruniqueid": "20231114221320one",
    "type": "Queue",
    "time": 1_699_999_999,
    "caller": "0540000000",
    "price": 1.50,
}
XMLRPC = (
    "<?xml version='1.0' encoding='windows-1255'?><methodCall><methodName>CDR</methodName><params><param><value><struct>"
    "<member><name>ivruniqueid</name><value>x1</value></member>"
    "<member><name>queuename</name><value>מכירות</value></member></struct></value></param></params></methodCall>"
)


def keep_body(product: Product, body: bytes | str, **values: Any) -> int:
    text = body if isinstance(body, bytes) else body.encode()
    kept = {
        "received_at_us": RECEIVED_AT_US + 123_456,
        "account": "default",
        "format": "json",
        "reason": "unreadable",
        "error": "it could not be read",
        "headers": {"content-type": "application/json"},
        **values,
    }
    database = Database(product.database_url, "test")
    keep(database, [QuarantinedBody(**kept, body=text)])
    database.close()
    return int(product.query("SELECT max(quarantine_id) FROM cdr.quarantine")[0][0])


def statuses(product: Product) -> dict[int, str]:
    return dict(product.query("SELECT quarantine_id, status FROM cdr.quarantine"))


def listed(product: Product, *arguments: str) -> list[int]:
    return [body["quarantine_id"] for body in product.cdr("quarantine", "list", "--json", *arguments).json]


def test_filters_and_ids_choose(product: Product) -> None:
    first = keep_body(product, "1")
    second = keep_body(product, "2", reason="not_a_cdr", account="other")
    third = keep_body(product, "3", received_at_us=RECEIVED_AT_US + 3_600_000_000)
    assert listed(product) == [first, second, third]
    assert listed(product, str(third), str(first)) == [first, third]
    assert listed(product, "--reason", "not_a_cdr") == [second]
    assert listed(product, "--account", "other") == [second]
    assert listed(product, "--since", "2023-11-14T22:30:00Z") == [third]
    assert listed(product, "--until", "2023-11-14T22:30:00+00:00") == [first, second]
    assert listed(product, "--limit", "1") == [first]
    assert "it could not be read" in product.cdr("quarantine", "list").out


def test_more_bodies_than_a_page_are_all_listed(product: Product) -> None:
    product.run(
        "INSERT INTO cdr.quarantine (received_at, last_received_at, account, format, reason, error, body, sha256) "
        "SELECT now(), now(), 'default', 'json', 'unreadable', 'no', n::text::bytea, sha256(n::text::bytea) "
        "FROM generate_series(1, 450) AS n"
    )
    assert len(listed(product)) == 450
    done = product.cdr("quarantine", "list")
    assert done.out.count("\n") == 201
    assert done.err == "only the first 200 are shown; --limit shows more, --json all\n"
    assert product.cdr("quarantine", "list", "--limit", "300").out.count("\n") == 301


def test_show_gives_headers_and_the_body_as_text_where_it_is_text(product: Product) -> None:
    text = keep_body(product, '{"שלום":\x1b[31m')
    shown = product.cdr("quarantine", "show", str(text), "--json").json
    assert (shown["body"], shown["body_base64"]) == ('{"שלום":\x1b[31m', None)
    assert shown["headers"] == {"content-type": "application/json"}
    for_people = product.cdr("quarantine", "show", str(text)).out
    assert "content-type" in for_people
    assert '{"שלום":\\x1b[31m' in for_people


def test_show_gives_other_bodies_as_base64_or_raw(product: Product) -> None:
    binary = keep_body(product, b"\xff\x00\xfe")
    shown = product.cdr("quarantine", "show", str(binary), "--json").json
    assert (shown["body"], base64.b64decode(shown["body_base64"])) == (None, b"\xff\x00\xfe")
    command = [sys.executable, "-m", "cdr", "quarantine", "show", str(binary), "--raw"]
    assert subprocess.run(command, capture_output=True, check=True, timeout=60).stdout == b"\xff\x00\xfe"


def test_a_body_that_is_not_there_cannot_be_shown(product: Product) -> None:
    assert product.cdr("quarantine", "show", "77") == (1, "", "cdr: there is no body 77 in quarantine\n")


@pytest.mark.parametrize(
    "command", [["list"], ["replay"], ["replay", "--dry-run"], ["discard"], ["discard", "--dry-run"]]
)
def test_an_id_of_no_body_is_an_error_and_nothing_is_done(product: Product, command: list[str]) -> None:
    kept = keep_body(product, json.dumps(CDR))
    done = product.cdr("quarantine", *command, str(kept), "77", "78")
    assert done == (1, "", "cdr: there is no body 77, 78 in quarantine\n")
    assert statuses(product) == {kept: "kept"}
    assert product.count("cdr.audit") == 0


@pytest.mark.parametrize("command", [["list"], ["replay"], ["discard"]])
def test_an_id_that_is_replayed_or_discarded_already_is_no_error(product: Product, command: list[str]) -> None:
    kept = keep_body(product, json.dumps(CDR))
    product.run("UPDATE cdr.quarantine SET status = 'replayed'")
    assert product.cdr("quarantine", *command, str(kept)).exit_code == 0
    assert statuses(product) == {kept: "replayed"}


@pytest.mark.parametrize("command", [["replay"], ["discard"]])
def test_a_filter_that_finds_nothing_is_no_error(product: Product, command: list[str]) -> None:
    assert product.cdr("quarantine", *command, "--reason", "unheard_of").exit_code == 0


@pytest.mark.parametrize("number", ["0", "-1", "9223372036854775808"])
def test_a_number_that_is_no_id_is_wrong_usage(product: Product, number: str) -> None:
    for verb in ("show", "list", "discard"):
        assert product.cdr("quarantine", verb, "--", number).exit_code == 2


def test_a_body_that_can_be_read_now_is_loaded_as_of_its_receipt(product: Product) -> None:
    kept = keep_body(product, json.dumps(CDR))
    done = product.cdr("quarantine", "replay", "--all")
    assert done == (0, "1 replayed, 1 CDRs in them; 0 stay\n", "")
    product.work()
    [(call_id, received_at, price)] = product.query(
        "SELECT call_id, extract(epoch FROM first_received_at) * 1000000, price_agorot::text FROM cdr.cdrs"
    )
    assert (call_id, int(received_at), price) == (CDR["ivruniqueid"], RECEIVED_AT_US + 123_456, "1.5")
    assert statuses(product) == {kept: "replayed"}
    assert listed(product) == []
    assert product.query("SELECT command, selection, affected FROM cdr.audit") == [("quarantine replay", {}, 1)]


def test_a_replay_that_runs_twice_counts_once(product: Product) -> None:
    kept = keep_body(product, json.dumps(CDR))
    assert product.cdr("quarantine", "replay", str(kept)).exit_code == 0
    product.run("UPDATE cdr.quarantine SET status = 'kept'")
    assert product.cdr("quarantine", "replay", str(kept), "--json").json["replayed"] == 1
    product.work()
    assert product.query("SELECT delivery_count FROM cdr.cdrs") == [(1,)]


def test_nothing_is_marked_that_is_not_in_the_queue(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = keep_body(product, json.dumps(CDR))
    monkeypatch.setenv("CDR_REDIS_URL", "redis://127.0.0.1:1/0")
    done = product.cdr("quarantine", "replay", "--all")
    assert (done.exit_code, done.out) == (1, "")
    assert statuses(product) == {kept: "kept"}


def test_what_cannot_be_read_stays_and_the_command_says_how_many_and_why(product: Product) -> None:
    broken, also_broken = keep_body(product, '{"a":'), keep_body(product, "")
    nameless = keep_body(product, '{"type": "Queue"}', reason="not_a_cdr")
    empty = keep_body(product, "[]", reason="not_a_cdr")
    done = product.cdr("quarantine", "replay", "--all", "--json")
    assert done.exit_code == 0
    assert (done.json["replayed"], done.json["kept"]) == (0, 4)
    assert {reason: told["count"] for reason, told in done.json["reasons"].items()} == {"unreadable": 2, "not_a_cdr": 2}
    assert "2 stay: unreadable: no JSON" in product.cdr("quarantine", "replay", "--all").out
    assert set(statuses(product).values()) == {"kept"}
    assert listed(product) == sorted([broken, also_broken, nameless, empty])


def test_of_an_array_the_good_elements_load_and_the_bad_ones_are_kept_by_themselves(product: Product) -> None:
    array = keep_body(product, json.dumps([CDR, 5, {**CDR, "ivruniqueid": "two"}, {"type": "Queue"}]))
    assert product.cdr("quarantine", "replay", "--all").out == "1 replayed, 2 CDRs in them; 0 stay\n"
    product.work()
    assert product.count("cdr.cdrs") == 2
    assert statuses(product).pop(array) == "replayed"
    bodies = {body["error"]: body["quarantine_id"] for body in product.cdr("quarantine", "list", "--json").json}
    assert len(bodies) == 2
    shown = [product.cdr("quarantine", "show", str(each), "--json").json["body"] for each in bodies.values()]
    assert sorted(shown) == ["5", '{"type":"Queue"}']


def test_xmlrpc_in_its_own_encoding_loads_and_keeps_its_format(product: Product) -> None:
    keep_body(product, XMLRPC.encode("cp1255"), format="xmlrpc", headers={"content-type": "text/xml"})
    product.cdr("quarantine", "replay", "--all")
    product.work()
    assert product.query("SELECT format, acd_queue_name FROM cdr.cdrs") == [("xmlrpc", "מכירות")]


def test_an_element_kept_as_json_is_read_as_utf8_whatever_the_post_declared(product: Product) -> None:
    element = json.dumps({**CDR, "queuename": "מכירות"}, ensure_ascii=False)
    keep_body(product, element, format="xmlrpc", headers={"content-type": "text/xml; charset=windows-1255"})
    product.cdr("quarantine", "replay", "--all")
    product.work()
    assert product.query("SELECT format, acd_queue_name FROM cdr.cdrs") == [("xmlrpc", "מכירות")]


def test_the_declared_encoding_counts_for_what_is_no_utf8(product: Product) -> None:
    body = json.dumps({**CDR, "queuename": "žluť"}, ensure_ascii=False).encode("cp1250")
    keep_body(product, body, headers={"content-type": "application/json; charset=windows-1250"})
    product.cdr("quarantine", "replay", "--all")
    product.work()
    assert product.query("SELECT acd_queue_name FROM cdr.cdrs") == [("žluť",)]


def replayed(product: Product) -> dict[str, Any]:
    told: dict[str, Any] = product.cdr("quarantine", "replay", "--all", "--json").json
    product.work()
    return told


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(json.dumps(CDR).encode())),
        ("deflate", zlib.compress(json.dumps(CDR).encode())),
        ("gzip, deflate", zlib.compress(gzip.compress(json.dumps(CDR).encode()))),
    ],
    ids=["gzip", "deflate", "both"],
)
def test_a_body_kept_in_an_encoding_that_is_known_by_now_is_inflated_and_loads(
    product: Product, encoding: str, body: bytes
) -> None:
    # The release that kept it did not know the encoding, and took the bytes for a form.
    kept = keep_body(product, body, format="form", headers={"content-encoding": encoding})
    assert product.cdr("quarantine", "replay", "--all", "--dry-run", "--json").json["cdrs"] == 1
    assert replayed(product)["cdrs"] == 1
    assert product.query("SELECT call_id, format FROM cdr.cdrs") == [(CDR["ivruniqueid"], "json")]
    assert statuses(product) == {kept: "replayed"}


def test_a_body_that_was_kept_inflated_is_not_inflated_again(product: Product) -> None:
    keep_body(product, json.dumps(CDR), headers={"(content-encoding undone)": "gzip"})
    assert replayed(product)["cdrs"] == 1
    assert product.count("cdr.cdrs") == 1


def test_a_body_that_is_not_in_the_encoding_that_its_header_tells_loads_as_it_is(product: Product) -> None:
    keep_body(product, json.dumps(CDR), headers={"content-encoding": "gzip"})
    assert replayed(product)["cdrs"] == 1
    assert product.count("cdr.cdrs") == 1


@pytest.mark.parametrize("encoding", ["gzip", "x-new"])
def test_a_body_that_cannot_be_inflated_still_stays_with_what_is_wrong_with_its_encoding(
    product: Product, encoding: str
) -> None:
    kept = keep_body(product, b"\x1f\x8bno=sense", headers={"content-encoding": encoding})
    (example,) = (told["example"] for told in replayed(product)["reasons"].values())
    assert encoding in example
    assert statuses(product) == {kept: "kept"}


def test_a_body_that_inflates_over_the_limit_stays(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDR_MAX_BODY_BYTES", "10000")
    text = json.dumps({**CDR, "x": " " * 20_000})
    kept = keep_body(product, gzip.compress(text.encode()), headers={"content-encoding": "gzip"})
    assert list(replayed(product)["reasons"]) == ["too_large"]
    assert statuses(product) == {kept: "kept"}
    monkeypatch.setenv("CDR_MAX_BODY_BYTES", "30000")
    assert replayed(product)["cdrs"] == 1


def test_what_of_an_inflated_array_is_no_cdr_is_kept_inflated_and_told_so(product: Product) -> None:
    array = json.dumps([CDR, {"type": "Queue"}]).encode()
    keep_body(product, gzip.compress(array), headers={"content-encoding": "gzip"})
    assert replayed(product)["cdrs"] == 1
    (element,) = listed(product)
    shown = product.cdr("quarantine", "show", str(element), "--json").json
    assert shown["body"] == '{"type":"Queue"}'
    assert shown["headers"] == {"(content-encoding undone)": "gzip"}


def test_the_declared_charset_of_an_inflated_body_counts_as_at_its_receipt(product: Product) -> None:
    # Bytes that are UTF-8 as well, and say something else in it.
    text = json.dumps({**CDR, "queuename": "Ã©"}, ensure_ascii=False).encode("latin-1")
    headers = {"content-encoding": "gzip", "content-type": "application/json; charset=iso-8859-1"}
    keep_body(product, gzip.compress(text), headers=headers)
    assert replayed(product)["cdrs"] == 1
    assert product.query("SELECT acd_queue_name FROM cdr.cdrs") == [("Ã©",)]


def test_a_large_array_becomes_jobs_of_a_thousand(product: Product) -> None:
    keep_body(product, json.dumps([{**CDR, "ivruniqueid": f"c{number}"} for number in range(2500)]))
    assert product.cdr("quarantine", "replay", "--all", "--json").json["cdrs"] == 2500
    assert product.redis.llen("rq:queue:cdrs") == 3


def test_a_dry_run_counts_and_changes_nothing(product: Product) -> None:
    keep_body(product, json.dumps(CDR))
    keep_body(product, "{")
    counted = product.cdr("quarantine", "replay", "--all", "--dry-run", "--json").json
    assert (counted["replayed"], counted["cdrs"], counted["kept"]) == (1, 1, 1)
    assert product.counted("quarantine", "discard", "--all", "--dry-run") == 2
    assert set(statuses(product).values()) == {"kept"}
    assert product.redis.dbsize() == 0
    assert product.count("cdr.audit") == 0


def test_discarded_bodies_are_listed_no_more_and_come_back_when_they_are_sent_again(product: Product) -> None:
    kept = [keep_body(product, "1"), keep_body(product, "2")]
    assert product.counted("quarantine", "discard", str(kept[0])) == 1
    assert listed(product) == kept[1:]
    assert product.cdr("quarantine", "discard", str(kept[0])) == (0, "0\n", "0 bodies were discarded\n")
    keep_body(product, "1", received_at_us=RECEIVED_AT_US + 1_000_000)
    assert listed(product) == kept


def test_everything_must_be_asked_for(product: Product) -> None:
    keep_body(product, json.dumps(CDR))
    for verb in ("replay", "discard"):
        done = product.cdr("quarantine", verb, "--limit", "5")
        assert (done.exit_code, done.out) == (2, "")
        assert "--all" in done.err


def test_a_rate_spreads_the_bodies_over_time(product: Product) -> None:
    for number in range(3):
        keep_body(product, json.dumps({**CDR, "ivruniqueid": str(number)}))
    started = time.monotonic()
    assert product.cdr("quarantine", "replay", "--all", "--rate", "10", "--json").json["replayed"] == 3
    assert time.monotonic() - started >= 0.2


def test_a_body_counts_as_replayed_only_on_as_many_disks_as_an_acknowledgement_asks_for(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDR_ACK_REPLICAS", "1")
    monkeypatch.setattr("common.redis_client._CONFIRM_SECONDS", 0.1)
    kept = keep_body(product, json.dumps(CDR))
    done = product.cdr("quarantine", "replay", str(kept))
    assert (done.exit_code != 0, statuses(product)) == (True, {kept: "kept"})
    assert "replicas 0 of 1" in done.err
