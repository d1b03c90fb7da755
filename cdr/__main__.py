"""Lets `python -m cdr` run the command line, which is how `cdr up` starts its children."""

from cdr.main import main

main()
