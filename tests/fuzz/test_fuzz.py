"""A few broken inputs for every reader, in a process of its own; `make fuzz` tries thousands."""

import sys

import pytest
from fuzz import fuzz, table
from fuzz_faults import FAULTS
from fuzz_targets import targets

EACH = 1
"""Inputs a reader."""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured through /proc")
def test_broken_files_get_an_error_of_ours_or_a_right_answer():
    found = fuzz(list(targets()), range(EACH))
    assert {tally.outcomes.total() for tally in found.values()} == {EACH}
    assert not [name for name, tally in found.items() if tally.faults], table(found)


def test_a_fault_is_seen(monkeypatch: pytest.MonkeyPatch):
    """A reader that raises anything else, or gives other records under the same fingerprint, is
    told."""
    monkeypatch.setattr("fuzz.FIRST", 10.0)
    found = fuzz(list(FAULTS), range(1))
    assert {name: tally.faults[0][1].partition(":")[0] for name, tally in found.items()} == {
        name: name for name in FAULTS
    }
