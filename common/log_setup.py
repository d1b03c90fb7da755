"""Log lines of every process: one line an event, for people or as JSON, on standard error.

Nothing that a CDR holds, and a line or a traceback quotes, steers a terminal: JSON escapes all that is not ASCII, and for
people it is escaped as in what the commands print.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from common.environment import load
from common.settings import LogSettings
from common.terminal import one_line, printable

# Text of several lines, which stands below the line of its event.
_BLOCKS = ("exception", "stack")


def set_up_logging() -> None:
    """Send our log lines and those of the libraries through one format; raises ConfigurationError."""
    settings = load(LogSettings)
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(settings.log_format)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # RQ tells of each job at the level info; what matters of it is told by our own lines.
    logging.getLogger("rq").setLevel(logging.WARNING)


def _rendering(log_format: str) -> list[structlog.typing.Processor]:
    if log_format == "json":
        return [structlog.processors.JSONRenderer()]
    # The default formatter of tracebacks shows local variables, and those of a request hold the secret address.
    traceback = structlog.dev.plain_traceback
    console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=traceback)
    return [_escape, console]


def _escape(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Escape every text of an event, and move what follows its first line, as RQ writes tracebacks, below it."""
    first, _, rest = str(event.get("event", "")).partition("\n")
    blocks = [rest, *(str(event[name]) for name in _BLOCKS if event.get(name))]
    lines = {name: one_line(value) if isinstance(value, str) else value for name, value in event.items()}
    below = printable("\n".join(filter(None, blocks)))
    return {
        **{name: value for name, value in lines.items() if name not in _BLOCKS},
        "event": one_line(first),
        **({"exception": below} if below else {}),
    }
