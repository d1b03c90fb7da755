"""Checks that the promises of the product can hold where it runs: `cdr doctor`."""
