"""Random faults of `soak.py`: a few, or as many as VPT_HARNESS_SOAK says; with `pytest -s` it tells
how it goes."""

import os

import pytest
from soak import soak

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]


def test_a_run_under_fire_ends_as_an_unbroken_one(make_grid):
    faults = int(os.environ.get("VPT_HARNESS_SOAK", "12"))
    tally = soak(make_grid, faults, seed=faults)
    print(tally)
    assert sum(tally.dealt.values()) == faults
    assert all(seconds < 10 for seconds in tally.seconds_to_end)
