"""Log lines hold no secret, not even in the traceback of a bug."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import structlog
from common.log_setup import set_up_logging

def handle(path):
    raise ZeroDivisionError("a bug")

set_up_logging()
try:
    handle("/cdr/" + "-".join(["the", "secret"]))
except ZeroDivisionError:
    structlog.get_logger("api").exception("a body could not be handled")
"""


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_a_traceback_shows_where_and_no_local_variables(log_format: str) -> None:
    program = [sys.executable, "-c", PROGRAM]
    environment = {**os.environ, "CDR_LOG_FORMAT": log_format, "PYTHONPATH": os.pathsep.join(sys.path)}
    log = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=60, check=True).stderr
    assert "ZeroDivisionError: a bug" in log
    assert "the-secret" not in log
