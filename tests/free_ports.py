"""Chooses the ports of the tests' own servers, so that nobody else takes one before its server, seconds later, listens on it.

They are from below the ports that Linux and macOS give to whoever asks for any, such as each outgoing connection, and none is
chosen twice. Processes begin at different places.
"""

from __future__ import annotations

import itertools
import os
import random

from cdr.ports import LOOPBACK, required_port
from common.errors import ConfigurationError

FIRST, LAST = 15_000, 32_000
# Not from the seed of pytest-randomly, which the processes share.
_offsets = itertools.count(random.Random(os.getpid()).randrange(LAST - FIRST))


def free_port() -> int:
    """Return a port of the loopback on which nothing listens, another one each time."""
    while True:
        try:
            return required_port(LOOPBACK, FIRST + next(_offsets) % (LAST - FIRST), wait_seconds=0)
        except ConfigurationError:
            continue
