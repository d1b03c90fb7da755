"""Log lines hold no secret, not even in the traceback of a bug, and steer no terminal."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from common.terminal import printable

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


HOSTILE = """
import logging
import structlog
from common.log_setup import set_up_logging

set_up_logging()
hostile = "a\\x1b[31m\\u202eb\\x9b\\u200bc\\x00\\ud800d\\re"
structlog.get_logger("api").warning("event " + hostile, value=hostile, nested=[hostile], line="one\\ntwo")
logging.getLogger("rq.worker").error("Worker %s: exception raised\\n%s", hostile, "Traceback\\n  " + hostile)
try:
    raise ValueError(hostile)
except ValueError:
    structlog.get_logger("api").exception("a bug")
    logging.getLogger("rq.worker").exception("a bug of RQ %s", hostile)
"""


def logged(program: str, log_format: str) -> str:
    """Run a program and return what it wrote to standard error."""
    environment = {**os.environ, "CDR_LOG_FORMAT": log_format, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, timeout=60, check=True).stderr.decode()


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_nothing_in_a_log_line_steers_a_terminal(log_format: str) -> None:
    log = logged(HOSTILE, log_format)
    assert log == printable(log)
    assert log.count("a bug of RQ") == 1
    assert log.count("x1b[31m" if log_format == "console" else "u001b[31m") >= 7


def test_for_people_an_event_is_one_line_and_a_traceback_stands_below_it() -> None:
    lines = logged(HOSTILE, "console").splitlines()
    assert sum("[warning" in line or "[error" in line for line in lines) == 4
    assert "line=one\\ntwo" in lines[0]
    assert lines[1].endswith("[rq.worker]")
    assert lines[2:4] == ["Traceback", r"  a\x1b[31m\u202eb\x9b\u200bc\x00\ud800d\re"]


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_a_traceback_shows_where_and_no_local_variables(log_format: str) -> None:
    log = logged(PROGRAM, log_format)
    assert "ZeroDivisionError: a bug" in log
    assert "the-secret" not in log
