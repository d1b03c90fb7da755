"""Runs the command line: the command `cdr`, and `python -m cdr`, which is how `cdr up` starts its children."""

import gc
import sys

# None of what is imported is ever garbage: looking for some, now and at every later collection, only takes time.
gc.disable()

# structlog loads rich where it finds it, for tracebacks in colour, which is a tenth of a worker's start. Commands that
# print tables import it themselves.
sys.modules["rich"] = None  # type: ignore[assignment]
import structlog  # noqa: E402, F401 - it must not find rich

del sys.modules["rich"]

from cdr.main import main  # noqa: E402 - the collector has to be off by then

gc.freeze()
gc.enable()

if __name__ == "__main__":
    main()
