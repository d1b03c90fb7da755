"""The commands `cdr recordings`: what became of recordings, another try, and whether all are there."""
