"""The keys of calls: SQL makes them as Python does, and an upgrade gives those of a release before to no call but its own."""

from __future__ import annotations

import re
from typing import Any

import pytest
from loading import Loader, execute, leg, select

from common.identity import call_key
from migrations.apply import FOLDER

UPGRADE = (FOLDER / "0011_keys_in_order_of_time.sql").read_text()
KEY_BEFORE = re.search(
    r"CREATE FUNCTION (cdr\.call_key.*?\$\$;)", (FOLDER / "0001_schema.sql").read_text(), re.DOTALL
).group(1)  # type: ignore[union-attr]
TABLES = {
    "cdrs": "SELECT identity, provider_time, call_id, call_key FROM cdr.cdrs ORDER BY 1, 2",
    "calls": "SELECT * FROM cdr.calls ORDER BY call_key",
    "links": "SELECT * FROM cdr.call_links ORDER BY call_key",
    "outbox": "SELECT outbox_id, call_keys, provider_times FROM cdr.outbox WHERE kind = 'calls' ORDER BY 1",
}
# Gives all rows the keys that they had; `before` has each key of now with the old one.
TAKEN_BACK = """
    CREATE TEMPORARY TABLE ids AS
        SELECT account, call_id FROM cdr.cdrs
        UNION SELECT account, call_id FROM cdr.calls
        UNION SELECT account, original_call_id FROM cdr.call_links;
    CREATE TEMPORARY TABLE before AS SELECT cdr.call_key(account, call_id) AS new, account, call_id FROM ids;
    CREATE OR REPLACE FUNCTION {function}
    ALTER TABLE before ADD old uuid;
    UPDATE before SET old = cdr.call_key(account, call_id);
    UPDATE cdr.cdrs SET call_key = old FROM before WHERE call_key = new;
    UPDATE cdr.calls SET call_key = old FROM before WHERE call_key = new;
    UPDATE cdr.call_links SET call_key = old FROM before WHERE call_key = new;
    UPDATE cdr.call_links SET original_call_key = old FROM before WHERE original_call_key = new;
    UPDATE cdr.call_links SET root_key = old FROM before WHERE root_key = new;
    UPDATE cdr.outbox SET call_keys = ARRAY(
        SELECT old FROM unnest(call_keys) WITH ORDINALITY AS noted (key, place) JOIN before ON new = key ORDER BY place
    ) WHERE kind = 'calls';
    DROP TABLE ids, before
"""


@pytest.mark.parametrize(
    "call_id",
    ["201809131615530APIAPI-APIAac40c3d53", "20180913161553", "2018091316155x", "a-call", "99999999999999", "שיחה"],
)
def test_sql_makes_the_key_that_python_makes(database_url: str, call_id: str) -> None:
    [row] = select(database_url, "SELECT cdr.call_key('acme', %s) AS key", call_id)
    assert row["key"].bytes == call_key("acme", call_id)


def everything(url: str) -> dict[str, list[dict[str, Any]]]:
    return {name: select(url, query) for name, query in TABLES.items()}


def test_an_upgrade_makes_of_the_keys_before_those_of_now(loader: Loader, database_url: str) -> None:
    loader.load_fields(
        leg("20180913161553aa"),
        leg("20180913161554ab", OriginalivrUniqueID="20180913161553aa"),
        leg("20180913161555ac", OriginalivrUniqueID="20180913161554ab"),
        leg("20180913161556ad", OriginalivrUniqueID="never-came"),
        leg("no-date", OriginalivrUniqueID="20180913161559-never-came"),
        leg("alone"),
        leg("20180913161557ae"),
    )
    assert loader.fold() == 7
    # What waits for its fold, and a step that was not folded yet.
    loader.load_fields(leg("20180913161558af", OriginalivrUniqueID="alone"), leg("20180913161557ae", type="Queue"))
    now = everything(database_url)
    assert [len(rows) for rows in now.values()] == [9, 5, 4, 1]
    execute(database_url, TAKEN_BACK.format(function=KEY_BEFORE))
    before = everything(database_url)
    assert [call["call_key"] for call in before["calls"]] != [call["call_key"] for call in now["calls"]]

    execute(database_url, UPGRADE)

    assert everything(database_url) == now
    assert loader.fold() == 2
    calls = select(database_url, "SELECT call_id, leg_count FROM cdr.calls ORDER BY call_id")
    assert [(call["call_id"], call["leg_count"]) for call in calls] == [
        ("20180913161553aa", 3),
        ("20180913161557ae", 2),
        ("20180913161559-never-came", 1),
        ("alone", 2),
        ("never-came", 1),
    ]
