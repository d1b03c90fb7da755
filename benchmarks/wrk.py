"""Posts CDRs with wrk, each with a call id of its own, and returns what it counted."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import Failed
from cdr.simulate.traffic import Post

PLACE = "@CALL-ID@"
_DONE = """
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{"answers": %%d, "sent": %%d, "microseconds": %%d, "refused": %%d, "broken": %%d, "p50": %%f, "p99": %%f}\\n',
    summary.requests, only:get("count"), summary.duration, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""
# wrk makes each request by this: one body after the other with a new call id. Of Lua's own time a few µs a request are taken.
_SCRIPT = (
    """
local content_type, prefix, before, after = %(content_type)s, %(prefix)s, {%(before)s}, {%(after)s}
count = 0
function setup(thread) only = thread end
function request()
  local one = count %% #before + 1
  count = count + 1
  return wrk.format("POST", nil, {["Content-Type"] = content_type}, before[one] .. prefix .. count .. after[one])
end
"""
    + _DONE
)
# Of many bodies one after the other, and all of them again, each time with other call ids: the legs of a call keep one.
_SCRIPT_OF_MANY = (
    """
local content_type, prefix, place = %(content_type)s, %(prefix)s, %(place)s
local bodies = {}
for line in io.lines(%(file)s) do bodies[#bodies + 1] = line end
count = 0
function setup(thread) only = thread end
function request()
  local body = string.gsub(bodies[count %% #bodies + 1], place, prefix .. math.floor(count / #bodies))
  count = count + 1
  return wrk.format("POST", nil, {["Content-Type"] = content_type}, body)
end
"""
    + _DONE
)


class Load(NamedTuple):
    """What wrk saw: how many were answered with 2xx, how fast, and the times from request to answer in ms.

    `sent` counts the requests that wrk made. Those that it cut off at its end, and one that it made and never sent, have no
    answer.
    """

    answers: int
    sent: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds


def post(url: str, posts: Sequence[Post], prefix: str, connections: int, seconds: float, folder: Path) -> Load:
    """Send posts of one kind over so many connections for so long, in turns, PLACE in each replaced by a new call id each time.

    Raises Failed when there is no wrk, and when any answer was none of 2xx.
    """
    halves = zip(*(post.body.decode().split(PLACE) for post in posts), strict=True)
    before, after = (", ".join(map(_quote, half)) for half in halves)
    words = _quoted({"content_type": posts[0].content_type, "prefix": prefix})
    return _run(_SCRIPT % {**words, "before": before, "after": after}, url, connections, seconds, folder)


def post_each(
    url: str, bodies: Sequence[str], content_type: str, prefix: str, connections: int, seconds: float, folder: Path
) -> Load:
    """Post as `post` does the bodies, which have no line breaks, one after the other, and all of them again and again.

    PLACE becomes the prefix and how often the bodies were all posted before.
    """
    file = folder / "bodies"
    file.write_text("".join(f"{body}\n" for body in bodies), encoding="utf-8")
    place = PLACE.replace("-", "%-")
    words = {"content_type": content_type, "prefix": prefix, "place": place, "file": str(file)}
    return _run(_SCRIPT_OF_MANY % _quoted(words), url, connections, seconds, folder)


def _quoted(words: dict[str, str]) -> dict[str, str]:
    return {name: _quote(value) for name, value in words.items()}


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _run(script: str, url: str, connections: int, seconds: float, folder: Path) -> Load:
    program = shutil.which("wrk")
    if program is None:
        raise Failed("wrk is not installed: apt-get install wrk")
    file = folder / "post.lua"
    file.write_text(script, encoding="utf-8")
    # An answer that is late is an answer; wrk would count it as an error after 2 s.
    how = ["--threads", "1", "--connections", str(connections), "--duration", f"{seconds:.0f}s", "--timeout", "60s"]
    run = subprocess.run([program, *how, "--script", str(file), url], capture_output=True, text=True, check=False)
    try:
        told = json.loads(run.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise Failed(f"wrk: {run.stdout} {run.stderr}") from None
    if told["refused"] or told["broken"] or not told["answers"]:
        raise Failed(f"{url}: {told}")
    answers, sent = told["answers"], told["sent"]
    return Load(answers, sent, told["microseconds"] / 1e6, told["p50"] / 1000, told["p99"] / 1000)
