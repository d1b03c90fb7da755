"""The most that one process can load: COPY and INSERT ... ON CONFLICT of rows that are prepared, and nothing else.

    python -m benchmarks.rivals.copy_rows BATCHES RESULT

The rows are those that the worker makes, and the statements too, so that they go into the same tables, indexes and outbox.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import time
from pathlib import Path

import psycopg

from common.postgres import statement


def main(batches_file: str, result_file: str) -> None:
    """Load batches of rows, a transaction each; write down the seconds and CPU seconds that it took."""
    batches = pickle.loads(Path(batches_file).read_bytes())
    with psycopg.connect(os.environ["CDR_DATABASE_URL"], autocommit=True) as connection:
        cpu, began = time.process_time(), time.monotonic()
        for rows in batches:
            with connection.transaction(), connection.cursor() as cursor:
                cursor.execute(statement("worker", "create_incoming"))
                with cursor.copy(statement("worker", "copy_incoming")) as copy:
                    for row in rows:
                        copy.write_row(row)
                cursor.execute(statement("worker", "insert_new_cdrs"), {"hooks": None})
        took = {"seconds": time.monotonic() - began, "cpu": time.process_time() - cpu}
    Path(result_file).write_text(json.dumps(took))


if __name__ == "__main__":
    main(*sys.argv[1:])
