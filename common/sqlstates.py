"""What each of PostgreSQL's error codes means for a batch: the one table of it, explained in docs/failures.md.

A code of five characters decides before its class, which is its first two. The question is always whether a CDR can be
the cause: where none can, the job waits as it is; where one may, a control CDR tells (worker/load_cdrs.py).
"""

from __future__ import annotations

from enum import Enum


class Decision(Enum):
    """What becomes of the work at hand."""

    WAIT = "wait"  # no CDR can be the cause: the whole job goes back and the worker pauses
    SCHEMA = "schema"  # as SUSPECT, under the name of a migration or a privilege that is missing
    HOLD = "hold"  # of what else loads meanwhile it is taken apart, and tried again later for as long as it takes
    SUSPECT = "suspect"  # as HOLD, and set aside when it has failed so many times while others loaded
    REFUSE = "refuse"  # the values' fault: taken apart and set aside at once


CLASSES: dict[str, Decision] = {
    "02": Decision.REFUSE,  # no data: raised by a trigger
    "03": Decision.SUSPECT,  # SQL statement not yet complete
    "08": Decision.WAIT,  # connection exception
    "09": Decision.REFUSE,  # triggered action exception
    "0A": Decision.SCHEMA,  # feature not supported: an older server, a foreign table as a partition
    "0B": Decision.SUSPECT,  # invalid transaction initiation
    "0F": Decision.SUSPECT,  # locator exception
    "0L": Decision.SCHEMA,  # invalid grantor
    "0P": Decision.SCHEMA,  # invalid role specification
    "0Z": Decision.REFUSE,  # diagnostics exception, in a trigger
    "10": Decision.REFUSE,  # XQuery error
    "20": Decision.REFUSE,  # case not found, in a trigger
    "21": Decision.REFUSE,  # cardinality violation
    "22": Decision.REFUSE,  # data exception
    "23": Decision.REFUSE,  # integrity constraint violation
    "24": Decision.SUSPECT,  # invalid cursor state
    "25": Decision.SUSPECT,  # invalid transaction state
    "26": Decision.SCHEMA,  # invalid SQL statement name: a pooler that mixes sessions
    "27": Decision.REFUSE,  # triggered data change violation
    "28": Decision.SCHEMA,  # invalid authorization specification
    "2B": Decision.SCHEMA,  # dependent privilege descriptors still exist
    "2D": Decision.SUSPECT,  # invalid transaction termination
    "2F": Decision.REFUSE,  # SQL routine exception
    "34": Decision.SUSPECT,  # invalid cursor name
    "38": Decision.REFUSE,  # external routine exception
    "39": Decision.REFUSE,  # external routine invocation exception
    "3B": Decision.SUSPECT,  # savepoint exception
    "3D": Decision.SCHEMA,  # invalid catalog name
    "3F": Decision.SCHEMA,  # invalid schema name
    "40": Decision.WAIT,  # transaction rollback: deadlocks, serialization failures
    "42": Decision.SCHEMA,  # syntax error or access rule violation: no table, no column, no privilege
    "44": Decision.REFUSE,  # WITH CHECK OPTION violation
    "53": Decision.WAIT,  # insufficient resources: disk full, too many connections
    "54": Decision.REFUSE,  # program limit exceeded: a value that is too large or too deep
    "55": Decision.HOLD,  # object not in prerequisite state: a lock that somebody holds
    "57": Decision.WAIT,  # operator intervention: shutting down, starting up, a session that was ended
    "58": Decision.HOLD,  # system error: a disk that cannot read one block
    "72": Decision.SUSPECT,  # snapshot failure
    "F0": Decision.WAIT,  # configuration file error
    "HV": Decision.SUSPECT,  # foreign data wrapper error
    "P0": Decision.REFUSE,  # PL/pgSQL error: a trigger that raises
    "XX": Decision.SUSPECT,  # internal error, corrupted data
}

CODES: dict[str, Decision] = {
    "25006": Decision.WAIT,  # read-only transaction: a standby, default_transaction_read_only
    "25P03": Decision.WAIT,  # idle-in-transaction timeout: this process was held up
    "53200": Decision.SUSPECT,  # out of memory: one CDR may be too large for it
    "53400": Decision.SUSPECT,  # configuration limit exceeded: as above, for temporary files
    "57014": Decision.SUSPECT,  # query canceled: by statement_timeout, of a slow database or of a slow CDR
}


def decide(sqlstate: str | None) -> Decision:
    """Decide on an error by its code; one without a code is of the connection.

    A code that PostgreSQL does not have comes from a trigger of the user's, which refuses what it was given.
    """
    if sqlstate is None:
        return Decision.WAIT
    return CODES.get(sqlstate) or CLASSES.get(sqlstate[:2], Decision.REFUSE)
