"""The commands `cdr extensions`: the directory of names by extension code."""
