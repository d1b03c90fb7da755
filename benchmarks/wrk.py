"""Posts CDRs with wrk, each with a call id of its own, and returns what it counted."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import Failed

PLACE = "@CALL-ID@"
# wrk makes each request by this: the body with a new call id. Of Lua's own time a few µs a request are taken.
_SCRIPT = """
local before, after, content_type, prefix = %(before)s, %(after)s, %(content_type)s, %(prefix)s
local thread_number, count = 0, 0
local refused = 0
function setup(thread)
  thread:set("number", thread_number)
  thread_number = thread_number + 1
end
function request()
  count = count + 1
  return wrk.format("POST", nil, {["Content-Type"] = content_type}, before .. prefix .. number .. "-" .. count .. after)
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{"answers": %%d, "microseconds": %%d, "refused": %%d, "broken": %%d, "p50": %%f, "p99": %%f}\\n',
    summary.requests, summary.duration, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


class Load(NamedTuple):
    """What wrk saw: how many were answered with 2xx, how fast, and the times from request to answer in ms."""

    answers: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds


def post(url: str, body: str, content_type: str, prefix: str, connections: int, seconds: float, folder: Path) -> Load:
    """Post `body` over so many connections for so long, PLACE in it replaced by a new call id each time.

    Raises Failed when there is no wrk, and when any answer was none of 2xx.
    """
    program = shutil.which("wrk")
    if program is None:
        raise Failed("wrk is not installed: apt-get install wrk")
    before, after = body.split(PLACE)
    words = {"before": before, "after": after, "content_type": content_type, "prefix": prefix}
    script = folder / "post.lua"
    script.write_text(_SCRIPT % {name: json.dumps(value, ensure_ascii=False) for name, value in words.items()})
    command = [program, "--threads", "1", "--connections", str(connections), "--duration", f"{seconds:.0f}s"]
    run = subprocess.run([*command, "--script", str(script), url], capture_output=True, text=True, check=False)
    try:
        told = json.loads(run.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise Failed(f"wrk: {run.stdout} {run.stderr}") from None
    if told["refused"] or told["broken"] or not told["answers"]:
        raise Failed(f"{url}: {told}")
    return Load(told["answers"], told["microseconds"] / 1e6, told["p50"] / 1000, told["p99"] / 1000)
