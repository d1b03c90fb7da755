"""Makes the monthly partitions of `cdr.cdrs` ahead of time: for `cdr migrate` and for the scheduler."""

from __future__ import annotations

from common.postgres import Database

# Loaders wait behind this lock, so whoever wants it gives up early and comes again.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '5s'"
# Moving a month of an imported history out of the default partition may take long.
_STATEMENT_TIMEOUT = "SET LOCAL statement_timeout = 0"


def make_partitions(database: Database) -> int:
    """Make the partitions of the months ahead and of those the default partition holds rows of; return how many.

    Each is a transaction of its own, so that loaders wait for the move of one month at most. Raises
    DatabaseUnavailable, when some may have been made.
    """
    with database.transaction() as cursor:
        months = [row[0] for row in cursor.execute("SELECT cdr.missing_partitions()")]
    for month in months:
        with database.transaction() as cursor:
            cursor.execute(_LOCK_TIMEOUT)
            cursor.execute(_STATEMENT_TIMEOUT)
            cursor.execute("SELECT cdr.make_partition(%s)", [month])
    return len(months)
