"""Runs a query as a user's program would, tells how long it took, and judges its plan by what PostgreSQL says it did."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import psycopg

# Smaller tables are read as a whole for good reason.
BIG_PAGES = 200


class Query(NamedTuple):
    """A query with its values, both as a program would give them to the driver."""

    text: str
    values: Mapping[str, Any] | None = None


class Judged(NamedTuple):
    """What a query did: the big tables that were read from end to end, pages that were touched, rows that came, its plan.

    `idle_rows` were read and thrown away again, which an index would have spared.
    """

    scanned: list[str]
    pages: int
    rows: int
    idle_rows: int
    plan: dict[str, Any]


def seconds_of(connection: psycopg.Connection[Any], query: Query) -> float:
    """Run a query and fetch all its rows; return how long that took."""
    began = time.perf_counter()
    connection.execute(query.text.encode(), query.values).fetchall()
    return time.perf_counter() - began


def judge(connection: psycopg.Connection[Any], query: Query) -> Judged:
    """Run a query under EXPLAIN."""
    with psycopg.ClientCursor(connection) as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {query.text}".encode(), query.values)
        (plan,) = cursor.fetchone() or ([],)
    root = plan[0]["Plan"]
    sizes = dict(
        connection.execute("SELECT relname, relpages FROM pg_class WHERE relnamespace = 'cdr'::regnamespace").fetchall()
    )
    nodes = list(_nodes(root))
    scanned = [
        node["Relation Name"]
        for node in nodes
        if node["Node Type"] == "Seq Scan" and node["Actual Loops"] and sizes.get(node["Relation Name"], 0) > BIG_PAGES
    ]
    pages = root["Shared Hit Blocks"] + root["Shared Read Blocks"]
    idle = sum(node.get("Rows Removed by Filter", 0) * node["Actual Loops"] for node in nodes)
    return Judged(scanned, pages, int(root["Actual Rows"] * root["Actual Loops"]), int(idle), root)


def shown(plan: Mapping[str, Any], depth: int = 0) -> str:
    """Write a plan as a few lines, the equal scans of many partitions as one."""
    lines = ["  " * depth + _line(plan)]
    below: dict[str, int] = {}
    for child in plan.get("Plans", []):
        text = shown(child, depth + 1)
        known = next((each for each in below if _shape(each) == _shape(text)), text)
        below[known] = below.get(known, 0) + 1
    for text, count in below.items():
        lines.append(text if count == 1 else f"{text}\n{'  ' * (depth + 1)}... {count} such")
    return "\n".join(lines)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from _nodes(child)


def _line(node: Mapping[str, Any]) -> str:
    words = [node["Node Type"]]
    words += [
        f"{name} {node[name]}" for name in ("Relation Name", "Index Name", "Index Cond", "Filter") if name in node
    ]
    words.append(f"rows {node['Actual Rows']:g} x {node['Actual Loops']}")
    if node.get("Rows Removed by Filter"):
        words.append(f"removed {node['Rows Removed by Filter']}")
    return ", ".join(words)


def _shape(text: str) -> str:
    return json.dumps([line.split(",")[0] for line in text.splitlines()])
