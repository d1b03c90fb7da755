"""Hooks get what docs/hooks.md says: every column, under its name and of its type; and what it shows there works."""

from __future__ import annotations

import hashlib
import hmac
import re
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import psycopg
import pytest

from worker import hooks
from worker.loaded_cdr import COLUMNS, LoadedCdr

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
SQL = ROOT / "worker" / "sql"
# Of the examples, how a CRM is told is run by tests/integration/test_hook_examples.py, too.
EXAMPLE, VERIFY, TEST = re.findall(r"```python\n(.*?)```", DOCS, flags=re.DOTALL)
SECRET = "only-for-tests-0123"

# What is of no use to anybody but the loader: how a delivery came, and an index.
NOT_FOR_HOOKS = {"call_key", "notes", "format", "delivery_id", "delivery_place"}
# What says only when and how often a CDR was received, and so makes no update.
NO_CHANGE = {"first_received_at", "last_received_at", "delivery_count", "loaded_at"}


def columns_of_the_table(database_url: str) -> set[str]:
    with psycopg.connect(database_url) as connection:
        query = (
            "SELECT attname FROM pg_attribute WHERE attrelid = 'cdr.cdrs'::regclass AND attnum > 0 AND NOT attisdropped"
        )
        return {name for (name,) in connection.execute(query)}


def test_a_hook_gets_every_column(database_url: str) -> None:
    assert set(COLUMNS) == columns_of_the_table(database_url) - NOT_FOR_HOOKS


def test_the_columns_are_read_in_their_order() -> None:
    text = (SQL / "read_loaded_cdr.sql").read_text(encoding="utf-8")
    selected = re.sub(r"encode\((\w+), 'hex'\)|::text", r"\1", text.partition("SELECT")[2].partition("FROM")[0])
    assert tuple(re.findall(r"\w+", selected)) == COLUMNS


def test_every_column_that_a_merge_may_change_makes_an_update() -> None:
    merging, noting = (
        # What a fold leaves empty where a name stands is no change.
        re.sub(r"coalesce\(folded\.(\w+), known\.\1\)", r"folded.\1", (SQL / name).read_text(encoding="utf-8"))
        for name in ("update_merged_cdrs.sql", "note_changed_cdrs.sql")
    )
    merged = set(re.findall(r"^ +(\w+) = folded", merging, re.MULTILINE))
    text = noting.partition("WHERE")[2]
    before, after = re.findall(r"known\.(\w+)", text), re.findall(r"folded\.(\w+)", text)
    assert before == after
    assert set(before) == merged - NOT_FOR_HOOKS - NO_CHANGE


def test_the_public_names_are_these() -> None:
    assert hooks.__all__ == ["GiveUp", "LoadedCdr", "TryLater", "webhook"]


def test_the_docs_name_every_attribute_with_its_type() -> None:
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| `([^`]+)` \|", DOCS, flags=re.MULTILINE)
    named = {name: told.replace("\\|", "|") for names, told in rows for name in re.findall(r"\w+", names)}
    assert named == {each.name: each.type for each in fields(LoadedCdr)}


def test_the_docs_tell_the_true_waits() -> None:
    assert "10 s, 1 min, 5 min, 30 min, 2 h and 6 h" in DOCS


def test_the_example_of_a_test_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "crm.py").write_text(EXAMPLE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "crm", raising=False)
    # Nobody listens there, so that a post would fail.
    monkeypatch.setenv("CRM_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("CRM_TOKEN", "t")
    names: dict[str, Any] = {}
    exec(TEST, names)
    names["test_a_call_from_an_extension_is_not_posted"]()
    with pytest.raises(OSError, match="refused"):
        names["post_call"](names["replace"](names["CDR"], caller_e164="+972546666666"))


def verify() -> Any:
    names: dict[str, Any] = {}
    exec(VERIFY, names)
    return names["is_genuine"]


@pytest.mark.parametrize(
    ("age_seconds", "secret", "added", "genuine"),
    [(0, SECRET, b"", True), (0, SECRET + "!", b"", False), (0, SECRET, b" ", False), (900, SECRET, b"", False)],
    ids=["genuine", "another secret", "changed", "old"],
)
def test_the_example_of_a_receiver_takes_only_what_is_genuine_and_recent(
    age_seconds: int, secret: str, added: bytes, genuine: bool
) -> None:
    timestamp, body = str(int(time.time()) - age_seconds), b'{"event":"cdr.loaded"}'
    signature = hmac.new(SECRET.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {"X-CDR-Timestamp": timestamp, "X-CDR-Signature": f"v1={signature}"}
    assert verify()(headers, body + added, secret) is genuine
