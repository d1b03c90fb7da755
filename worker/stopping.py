"""How a job is told to end at once, so that it cannot be mistaken for something that the job itself has raised."""

from __future__ import annotations


class ForcedStop(SystemExit):
    """A second signal asked the worker to stop: whatever runs is broken off and run again elsewhere."""
