"""What RQ's worker does beside running jobs, and ours does not: each would do harm here, or is done by another process."""

from __future__ import annotations

from typing import Any

import structlog
from rq import SimpleWorker
from rq.utils import now

from worker.stopping import ForcedStop

_log = structlog.get_logger("worker.less_of_rq")


class LessOfRq(SimpleWorker):
    """RQ's worker without its commands, its clean-up and its scheduler."""

    def subscribe(self) -> None:
        """Take no commands over Redis: whoever may write to it could end the workers."""

    def unsubscribe(self) -> None:
        """Have nothing to unsubscribe from."""

    def clean_registries(self) -> None:
        """Leave abandoned jobs to the scheduler's sweep: RQ's own clean-up would call them failed."""
        self.last_cleaned_at: Any = now()

    def clean_group_registries(self) -> None:
        """Clean nothing: no job of ours is in a group."""

    def request_force_stop(self, signum: int, frame: Any) -> None:
        """Break off what runs at a second signal, by an exception that no job raises by itself, as RQ's own may be."""
        try:
            super().request_force_stop(signum, frame)
        except SystemExit as stop:
            raise ForcedStop from stop

    def _start_scheduler(self, *_: Any, **__: Any) -> None:
        """Start none, though `rq worker --with-scheduler` and every `rq worker-pool` ask for it, and say so.

        RQ's would read jobs with classes that are not ours, and move them in steps between which they can be lost.
        """
        _log.warning("RQ's scheduler is not started: `cdr scheduler` moves the jobs that are due")
