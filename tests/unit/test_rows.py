"""A row says what its record says."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from worker.rows import as_text


@given(st.datetimes() | st.datetimes(timezones=st.just(UTC)))
def test_a_time_is_written_as_its_iso_format(moment: datetime) -> None:
    assert as_text(moment) == moment.isoformat().replace("+00:00", "Z")
