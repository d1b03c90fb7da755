"""A simulated recording lasts as long as its call talked, so that nothing is odd about it."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from cdr.simulate.calls import CallFactory
from cdr.simulate.recordings import recording
from worker.recordings.audio_facts import AudioFacts, audio_facts, note_difference


def facts(tmp_path: Path, content: bytes) -> AudioFacts:
    path = tmp_path / "recording"
    path.write_bytes(content)
    return audio_facts(path, "ogg")


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("/c-aws-0540000000-AAPINFzL_33s.mp3", 33.0),
        ("/c_1s.mp3", 1.0),
        ("/c_3600s.mp3", 3600.0),
        ("/c_999999999s.mp3", 3600.0),
        ("/c_0s.mp3", 1.0),
        ("/c.mp3", 1.0),
    ],
)
def test_it_lasts_as_long_as_its_name_says_and_an_hour_at_most(tmp_path: Path, name: str, seconds: float) -> None:
    assert facts(tmp_path, recording(name)) == AudioFacts(seconds, "opus", None)


def test_nothing_is_odd_about_the_recordings_of_simulated_calls(tmp_path: Path) -> None:
    cdrs = [cdr for call in islice(CallFactory(3), 300) for cdr in call if cdr["record"]]
    assert len(cdrs) > 100
    for cdr in cdrs:
        known = facts(tmp_path, recording(str(cdr["record"])))
        assert note_difference(known.problem, known.seconds, int(str(cdr["duration"]))) is None


def test_an_hour_is_small_and_two_recordings_of_one_length_are_not_the_same() -> None:
    one, two = recording("/one_3600s.mp3"), recording("/two_3600s.mp3")
    assert len(one) == len(two) < 150_000
    assert one != two


def test_its_pages_have_the_checksums_of_ogg() -> None:
    # Worked out bit by bit here, and by a table there.
    page = recording("/c_1s.mp3")[:47]
    told, without = page[22:26], page[:22] + bytes(4) + page[26:]
    remainder = 0
    for bit in (byte >> place & 1 for byte in (*without, 0, 0, 0, 0) for place in range(7, -1, -1)):
        remainder = remainder << 1 | bit
        if remainder >> 32:
            remainder ^= 0x104C11DB7
    assert told == remainder.to_bytes(4, "little")
