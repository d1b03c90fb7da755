"""Lets `python -m cdr` run the command line, which is how `cdr up` starts its children."""

from cdr.main import main

if __name__ == "__main__":
    main()
