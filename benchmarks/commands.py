"""Runs commands of the product and tells what each took: time, and the most memory at once."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import ROOT, Failed, environment, peak_bytes

_LOOK_SECONDS = 0.01


class Ran(NamedTuple):
    """A command that ended well."""

    seconds: float
    peak_bytes: int
    output_bytes: int


def run(arguments: Sequence[str], env: Mapping[str, str], folder: Path) -> Ran:
    """Run `python -m cdr ...` to its end; raise Failed when it fails or says nothing."""
    printed = folder / "command.out"
    began = time.perf_counter()
    with printed.open("wb") as output:
        started = subprocess.Popen(
            [sys.executable, "-P", "-m", "cdr", *arguments], cwd=ROOT, env=environment(env), stdout=output
        )
        peak = 0
        # What the kernel tells of a child that has ended counts our own memory from before its program began.
        while started.poll() is None:
            peak = max(peak, peak_bytes(started.pid))
            time.sleep(_LOOK_SECONDS)
    seconds, size = time.perf_counter() - began, printed.stat().st_size
    printed.unlink()
    if started.returncode or not size:
        raise Failed(f"cdr {' '.join(arguments)} ended with {started.returncode} and printed {size} bytes")
    return Ran(seconds, peak, size)
