"""Measures all parts, or some, prints their tables, and writes results.json beside this file.

    make bench                          # everything, about an hour
    make bench ONLY=receive             # one part; several with commas
    make bench ONLY=receive ARGS="--rounds 3 --scale 0.3"

Figures compare within one run only. The exit code is 1 when something measured was wrong, such as an acknowledged CDR without a
row; a goal that is missed is shown, and no error.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import cost, growth, lag, load, queries, receive, whole_way
from benchmarks.bench import Bench
from benchmarks.figures import Part
from benchmarks.processes import ROOT, Failed

RESULTS = Path(__file__).with_name("results.json")
# What is measured less often, or by less, is a trial, and not kept.
LEAST_ROUNDS, LEAST_SCALE = 5, 1.0
PARTS: dict[str, Callable[[Bench], Iterator[Part]]] = {
    "receive": receive.measure,
    "load": load.measure,
    "whole_way": whole_way.measure,
    "lag": lag.measure,
    "growth": growth.measure,
    "cost": cost.measure,
    "queries": queries.measure,
}


def main() -> int:
    """Measure, print and write; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, with commas: {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender is measured")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies counts and seconds; the goals are for 1")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := set(names) - set(PARTS):
        parser.error(f"no such part: {', '.join(unknown)}")
    with tempfile.TemporaryDirectory(prefix="cdr-bench-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        folder.chmod(0o711)
        bench = Bench(folder, options.rounds, options.scale)
        # Before all else: by the end of an hour another one may stand here.
        commit = _commit()
        try:
            for name in names:
                # What was written before, by an earlier part too, is not to be waited for by those who are measured now.
                os.sync()
                for part in PARTS[name](bench):
                    print(part.tables(), flush=True)
                    _write(part, bench, commit)
        except Failed as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    return 0


def _write(part: Part, bench: Bench, commit: str) -> None:
    """Put a part's figures in place of those of an earlier run of the day (UTC); what else the file holds stays."""
    if bench.rounds < LEAST_ROUNDS or bench.scale < LEAST_SCALE:
        bench.tell(f"a trial, not kept in {RESULTS.name}")
        return
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    now = datetime.now(UTC)
    circumstances = {**_circumstances(bench, now), "commit": commit}
    known.setdefault(now.date().isoformat(), {})[part.name] = {**circumstances, **part.as_json()}
    RESULTS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _circumstances(bench: Bench, now: datetime) -> dict[str, Any]:
    return {
        "measured_at": now.isoformat(timespec="seconds"),
        "rounds": bench.rounds,
        "scale": bench.scale,
        "cores": os.cpu_count(),
        "python": sys.version,
        "load_before": round(os.getloadavg()[2], 1),
    }


def _commit() -> str:
    """Name the commit that stands here, with `-dirty` when more than the figures was changed since; empty without git."""
    if shutil.which("git") is None:
        return ""
    head = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    changed = subprocess.run(
        ["git", "diff", "--quiet", "HEAD", "--", ".", f":!benchmarks/{RESULTS.name}"], cwd=ROOT, check=False
    )
    return head.stdout.strip() + ("-dirty" if changed.returncode == 1 else "")


if __name__ == "__main__":
    sys.exit(main())
