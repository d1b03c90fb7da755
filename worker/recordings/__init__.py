"""Recordings: fetched within limits from where they may be fetched, told apart by their bytes, and stored once."""
