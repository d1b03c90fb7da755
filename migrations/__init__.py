"""The database schema: numbered SQL files, forward only, and the runner that applies them."""
