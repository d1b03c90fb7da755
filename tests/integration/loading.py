"""What the tests of the loading path share: deliveries made by hand, a loader with a connection of its own, rows."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from psycopg.rows import dict_row

from common.delivery import Delivery
from common.postgres import Database, connect
from common.settings import AccountDefaults
from worker.accounts import Accounts
from worker.bisection import Failed
from worker.extension_directory import ExtensionDirectory
from worker.fold_calls import fold_waiting_calls
from worker.gather import gather
from worker.load_cdrs import NotLoaded, load
from worker.pipeline import Knowledge

NOON_US = 1_790_000_000_000_000
TIME = 1_790_000_000


# What a row says must not have to be put right once it is written.
NO_UPDATES = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'a row was updated'; END $$;
CREATE TRIGGER of_a_test BEFORE UPDATE ON cdr.cdrs FOR EACH ROW EXECUTE FUNCTION refuse();
"""


def delivery(fields: dict[str, Any], received: float = 0.0, **others: Any) -> Delivery:
    """Make a delivery, `received` seconds after noon; `others` are attributes to set."""
    values = {"delivery_id": uuid.uuid4().hex, "place": 0, "account": "acme", "format": "json", "notes": ()} | others
    return Delivery(received_at_us=NOON_US + round(received * 1e6), fields=fields, **values)


def leg(call_id: str, **fields: Any) -> dict[str, Any]:
    """Make the fields of a plain answered CDR, some of them changed; None leaves a field out."""
    usual = {"ivruniqueid": call_id, "time": TIME, "type": "Incoming Call", "status": "ANSWER", "duration": 10}
    return {name: value for name, value in (usual | fields).items() if value is not None}


class Loader:
    """Loads as a worker does, on a connection of its own."""

    def __init__(self, url: str) -> None:
        self.database = Database(url, "test")
        self.knowledge = Knowledge(Accounts(AccountDefaults()), ExtensionDirectory())

    def load(self, deliveries: Iterable[Delivery]) -> list[Failed]:
        """Load deliveries of which none is in doubt, and return those that are refused."""
        not_loaded = self.try_to_load(deliveries)
        assert not not_loaded.held
        return not_loaded.refused

    def try_to_load(self, deliveries: Iterable[Delivery]) -> NotLoaded:
        records, refused = gather(list(deliveries), self.knowledge)
        not_loaded = load(self.database, records, self.knowledge)
        return NotLoaded(refused + not_loaded.refused, not_loaded.held)

    def load_fields(self, *fields: dict[str, Any]) -> list[Failed]:
        return self.load([delivery(each) for each in fields])

    def fold(self) -> int:
        return fold_waiting_calls(self.database)


def select(url: str, query: str, *values: Any) -> list[dict[str, Any]]:
    """Read rows as dictionaries."""
    with connect(url, "test") as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query.encode(), values or None).fetchall()


def execute(url: str, statement: str, *values: Any) -> None:
    """Run a statement of the test's own."""
    with connect(url, "test") as connection:
        connection.execute(statement.encode(), values or None)
