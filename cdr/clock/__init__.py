"""The commands `cdr clock`: how `time` was read, and reading it anew."""
