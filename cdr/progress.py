"""The progress bar of commands that take a while: on standard error, and for people only."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


def is_watched() -> bool:
    """Tell whether a person would see the bar."""
    return sys.stderr.isatty()


def progress_bar() -> Progress:
    """Make a bar that shows a description, how many of how many, and for how long."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), disable=not is_watched())
