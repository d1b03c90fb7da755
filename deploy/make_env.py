"""Writes the `.env` that docker-compose.yml needs: .env.example with random secrets, readable by its owner alone.

Runs with any Python 3 and nothing installed, because `make env` is the first command on a new server. A file that
exists is left alone: its secrets are in use.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# 32 bytes are 43 characters of A-Z, a-z, 0-9, - and _: none needs escaping in an address.
SECRET_BYTES = 32
ACCOUNT = "default"


def main() -> int:
    """Write the file named by the first argument, else .env beside docker-compose.yml; return the exit code."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / ".env"
    receiver_secret = secrets.token_urlsafe(SECRET_BYTES)
    values = {
        "CDR_RECEIVER_SECRETS": f"{ACCOUNT}:{receiver_secret}",
        "CDR_POSTGRES_PASSWORD": secrets.token_urlsafe(SECRET_BYTES),
        "CDR_REDIS_PASSWORD": secrets.token_urlsafe(SECRET_BYTES),
    }
    try:
        write_private(target, filled_in((ROOT / ".env.example").read_text(encoding="utf-8"), values))
    except FileExistsError:
        sys.stderr.write(f"{target} exists and is left as it is: its secrets are in use\n")
        return 1
    sys.stdout.write(f"{target} written. The path to give the provider, after your own https:// address:\n")
    sys.stdout.write(f"  /cdr/{receiver_secret}\n")
    return 0


def filled_in(template: str, values: dict[str, str]) -> str:
    """Return the template with each empty `NAME=` line given its value; every value must have such a line."""
    for name, value in values.items():
        before, line, after = template.partition(f"\n{name}=\n")
        if not line:
            raise ValueError(f".env.example has no empty line {name}=")
        template = f"{before}\n{name}={value}\n{after}"
    return template


def write_private(path: Path, text: str) -> None:
    """Write a new file that only its owner can read from its first moment on; raise FileExistsError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    sys.exit(main())
