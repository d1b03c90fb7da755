"""Makes the monthly partitions of `cdr.cdrs` ahead of time: for `cdr migrate` and for the scheduler."""

from __future__ import annotations

from common.postgres import CHANGING_TABLES, Database


def make_partitions(database: Database) -> int:
    """Make the partitions of the months ahead and of those the default partition holds rows of; return how many.

    Each is a transaction of its own, so that loaders wait for the move of one month at most, and it gives up the wait for
    its lock early, because they wait behind it. Raises DatabaseUnavailable, when some may have been made.
    """
    with database.transaction() as cursor:
        months = [row[0] for row in cursor.execute("SELECT cdr.missing_partitions()")]
    for month in months:
        with database.transaction(CHANGING_TABLES) as cursor:
            cursor.execute("SELECT cdr.make_partition(%s)", [month])
    return len(months)
