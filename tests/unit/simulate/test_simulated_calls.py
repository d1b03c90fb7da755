from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from cdr.simulate.calls import CDRS_A_CALL, CallFactory
from cdr.simulate.fields import Fields
from cdr.simulate.organisation import EXTENSIONS
from cdr.simulate.traffic import identify

TYPES = {
    "Incoming Call", "CC", "Extension Outgoing", "Queue", "Click2Call leg1", "Click2Call leg2", "VoiceMail",
    "Callference", "XferCDR", "ProductiveCall Leg1", "ProductiveCall Leg2", "Scrubber", "Click 2 IVR",
    "Click 2 IVR Incoming", "Click 2 Queue Incoming", "FaxCdr", "Attended CDR leg1", "Attended CDR leg2",
    "Auto forward",
}  # fmt: skip
STATUSES = {
    "NOTDIALED", "ANSWER", "BUSY", "NOANSWER", "CANCEL", "ABANDONE", "VOEND", "TE", "NOTCALLED", "VOICEMAIL",
    "CONGESTION", "CHANUNAVAIL", "INVALIDARGS", "SSWPREAUTH", "TIMEOUT", "FULL", "EXIT", "JOINEMPTY",
}  # fmt: skip
SPECIFIED_FIELDS = [
    "caller", "target", "time", "duration", "ivruniqueid", "type", "status", "targetextension", "callerextension",
    "did", "queueid", "queuename", "record", "price", "dialtime", "representative_name", "representative_code",
    "targetextension_name", "callerextension_name", "target_country", "caller_country",
]  # fmt: skip


def calls(count: int, seed: int = 5, start: datetime | None = None) -> list[list[Fields]]:
    return list(islice(CallFactory(seed, start), count))


@pytest.fixture(scope="module")
def many() -> list[list[Fields]]:
    return calls(20_000)


@pytest.fixture(scope="module")
def cdrs(many: list[list[Fields]]) -> list[Fields]:
    return [cdr for call in many for cdr in call]


def test_the_same_seed_makes_the_same_calls() -> None:
    assert calls(500) == calls(500)


def test_another_seed_makes_other_calls() -> None:
    assert calls(50, seed=1) != calls(50, seed=2)


def test_every_type_and_status_of_the_specification_occurs(cdrs: list[Fields]) -> None:
    assert {cdr["type"] for cdr in cdrs} == TYPES
    assert {cdr["status"] for cdr in cdrs} == STATUSES


def test_most_calls_are_incoming_queue_and_outgoing(cdrs: list[Fields]) -> None:
    common = Counter(cdr["type"] for cdr in cdrs).most_common(3)
    assert {call_type for call_type, _ in common} == {"Incoming Call", "Queue", "Extension Outgoing"}
    assert sum(count for _, count in common) > 0.6 * len(cdrs)


def test_every_cdr_has_the_fields_of_the_specification_with_their_types(cdrs: list[Fields]) -> None:
    for cdr in cdrs:
        assert list(cdr)[: len(SPECIFIED_FIELDS)] == SPECIFIED_FIELDS
        assert all(type(cdr[name]) is int for name in ("time", "duration", "queueid", "dialtime"))
        assert type(cdr["price"]) in (int, float)


def test_no_identity_occurs_twice(cdrs: list[Fields]) -> None:
    assert len({identify(cdr) for cdr in cdrs}) == len(cdrs)


def test_the_date_in_a_call_id_is_the_wall_clock_of_its_cdrs(cdrs: list[Fields]) -> None:
    dated = [cdr for cdr in cdrs if re.match(r"20\d{12}", cdr["ivruniqueid"])]
    assert len(dated) > 0.9 * len(cdrs)
    for cdr in dated:
        in_id = datetime.strptime(cdr["ivruniqueid"][:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()
        assert 0 <= cdr["time"] - in_id < 600


def test_call_ids_come_in_several_shapes(cdrs: list[Fields]) -> None:
    shapes = {re.sub(r"[0-9a-f]+", "x", cdr["ivruniqueid"]) for cdr in cdrs}
    assert shapes == {"x", "x-x", "vx-x.x"}
    assert any(not cdr["ivruniqueid"].startswith("20") for cdr in cdrs)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Click2Call leg1", {"Click2Call leg2"}),
        ("ProductiveCall Leg1", {"ProductiveCall Leg2"}),
        ("Click 2 IVR", {"Click 2 IVR Incoming", "Click 2 Queue Incoming"}),
    ],
)
def test_both_legs_of_a_dialled_call_have_one_id(many: list[list[Fields]], first: str, second: set[str]) -> None:
    pairs = [call for call in many if call[0]["type"] == first and len(call) == 2]
    assert pairs
    for one, two in pairs:
        assert two["type"] in second
        assert one["ivruniqueid"] == two["ivruniqueid"]
        assert one["time"] <= two["time"]


def test_transferred_legs_name_the_call_that_they_come_from(many: list[list[Fields]]) -> None:
    chained = [call for call in many if any("OriginalivrUniqueID" in cdr for cdr in call)]
    types = {cdr["type"] for call in chained for cdr in call if "OriginalivrUniqueID" in cdr}
    assert types == {"Attended CDR leg1", "Attended CDR leg2", "XferCDR", "Auto forward"}
    for call in chained:
        ids = {cdr["ivruniqueid"] for cdr in call}
        assert len(ids) == len(call)
        assert all(cdr["OriginalivrUniqueID"] in ids for cdr in call[1:])


def test_only_queue_types_tell_a_wait(cdrs: list[Fields]) -> None:
    queued = {cdr["type"] for cdr in cdrs if "seconds_waiting_in_queue" in cdr}
    assert queued == {"Queue", "Click 2 Queue Incoming"}
    assert all((cdr["queueid"] > 0) == ("seconds_waiting_in_queue" in cdr) for cdr in cdrs)


def test_callers_who_hang_up_in_the_queue_waited_and_did_not_talk(cdrs: list[Fields]) -> None:
    abandoned = [cdr for cdr in cdrs if cdr["status"] == "ABANDONE"]
    assert all(cdr["seconds_waiting_in_queue"] > 0 and cdr["duration"] == 0 for cdr in abandoned)


def test_recordings_are_named_as_the_providers(cdrs: list[Fields]) -> None:
    recorded = [cdr for cdr in cdrs if cdr["record"]]
    assert len(recorded) > 0.5 * len(cdrs)
    for cdr in recorded:
        assert re.fullmatch(rf"http://recordings\.invalid/[\w.-]+-aws-\w*-\w+_{cdr['duration']}s\.mp3", cdr["record"])
        assert cdr["ivruniqueid"] in cdr["record"]


def test_recordings_lie_under_the_given_address() -> None:
    factory = CallFactory(1, recordings_base="http://127.0.0.1:1/")
    records = [cdr["record"] for call in islice(factory, 100) for cdr in call if cdr["record"]]
    assert records
    assert all(re.fullmatch(r"http://127\.0\.0\.1:1/[^/]+\.mp3", record) for record in records)


def test_callers_are_of_every_kind(cdrs: list[Fields]) -> None:
    callers = {cdr["caller"] for cdr in cdrs}
    assert {"", "anonymous", "0540000000", "*1234"} <= callers
    assert any(caller.startswith("+972") for caller in callers)
    assert any(caller.startswith("1202555") for caller in callers)
    assert {cdr["caller_country"] for cdr in cdrs} >= {"Israel", "United Kingdom", ""}


def test_extension_codes_are_targets_too(cdrs: list[Fields]) -> None:
    codes = {extension.code for extension in EXTENSIONS}
    assert len(codes) == 40
    assert any(cdr["target"] in codes for cdr in cdrs)
    assert all(cdr[name] in codes | {""} for cdr in cdrs for name in ("targetextension", "callerextension"))


def test_names_are_hebrew_too(cdrs: list[Fields]) -> None:
    assert any(re.search("[א-ת]", cdr["representative_name"]) for cdr in cdrs)
    assert any(cdr["representative_name"] == "External IVR" and not cdr["representative_code"] for cdr in cdrs)


@pytest.mark.parametrize(
    "name",
    ["direction", "isAnswer", "actualCallDuration", "IVR", "CustomData", "var_crm_id", "aiData", "dialerData"],
)
def test_later_fields_occur_in_some_cdrs_only(cdrs: list[Fields], name: str) -> None:
    having = [cdr for cdr in cdrs if name in cdr]
    assert 0 < len(having) < 0.5 * len(cdrs)


def test_structured_fields_come_as_text_that_is_json(cdrs: list[Fields]) -> None:
    for name in ("IVR", "CustomData", "aiData"):
        texts = [cdr[name] for cdr in cdrs if isinstance(cdr.get(name), str)]
        assert texts
        assert all(isinstance(json.loads(text), dict | list) for text in texts)


def test_calls_come_in_the_order_in_which_they_end_from_the_start_on() -> None:
    start = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)
    ends = [max(map(end_of, call)) for call in calls(1000, start=start)]
    assert ends == sorted(ends)
    # Israel's summer time is three hours ahead of UTC.
    assert 0 <= ends[0] - (start.timestamp() + 3 * 3600) < 60


def end_of(cdr: Fields) -> int:
    return cdr["time"] + cdr.get("seconds_waiting_in_queue", 0) + cdr["dialtime"] + cdr["duration"]


def test_a_naive_start_is_utc() -> None:
    aware = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)
    assert calls(5, start=aware) == calls(5, start=aware.replace(tzinfo=None))


def test_no_call_begins_in_the_hour_that_the_clocks_skip() -> None:
    started = clock_hours(datetime(2026, 3, 26, 22, 0, tzinfo=UTC))
    assert started[1] > 400
    assert started[2] == 0
    assert started[3] > 400


def test_twice_as_many_calls_begin_in_the_hour_that_comes_twice() -> None:
    started = clock_hours(datetime(2026, 10, 24, 20, 0, tzinfo=UTC))
    assert started[1] > 1.7 * started[2] > 400


def clock_hours(start: datetime) -> Counter[int]:
    hours: Counter[int] = Counter()
    for call in calls(4000, start=start):
        hours[(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(call[0]["time"]))).hour] += 1
    return hours


def test_the_mean_number_of_cdrs_in_a_call_is_as_stated(many: list[list[Fields]], cdrs: list[Fields]) -> None:
    assert len(cdrs) / len(many) == pytest.approx(CDRS_A_CALL, rel=0.02)
