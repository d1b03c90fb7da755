"""The `cdr` command."""


def main() -> None:
    """Run the command line."""
