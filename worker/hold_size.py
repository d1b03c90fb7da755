"""How many CDRs a worker takes at once: as many as it has lately loaded in two seconds, within bounds."""

from __future__ import annotations

# Taken together CDRs cost less: the threads of a worker wait for each other once, and calls are folded once. What is taken
# together is also what another worker does not get, what a stop waits for, and what is loaded again after a crash.
HOLD_SECONDS = 2.0
LEAST_CDRS = 2000
MOST_CDRS = 8000


class HoldSize:
    """Learns from each load how much a worker may take for the next one."""

    def __init__(self) -> None:
        self.cdrs = LEAST_CDRS

    def learn(self, loaded: int, seconds: float) -> None:
        """Note that a load of so many CDRs took so long."""
        in_time = loaded * HOLD_SECONDS / max(seconds, 0.001)
        self.cdrs = round(min(max(in_time, LEAST_CDRS), MOST_CDRS))

    def learn_failure(self) -> None:
        """Note that a load could not be done: all of it is to be done again, maybe one job at a time."""
        self.cdrs = LEAST_CDRS
