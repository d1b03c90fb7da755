"""Runs the command line: the command `cdr`, and `python -m cdr`, which is how `cdr up` starts its children."""

import gc

# None of what is imported is ever garbage: looking for some, now and at every later collection, only takes time.
gc.disable()

from cdr.main import main  # noqa: E402 - the collector has to be off by then

gc.freeze()
gc.enable()

if __name__ == "__main__":
    main()
