"""Ends what a worker keeps for its process, where the process is that of the tests."""

from __future__ import annotations

from worker import context


def forget_context() -> None:
    """Close the worker's connections, so that the next job opens others, by the settings that it finds."""
    here, context._Kept.context = context._Kept.context, None
    if here is not None:
        for opened in (here.database, *here.further_databases, here.redis):
            opened.close()
