"""Quantiles and ranks of our own, against scipy's."""

import numpy as np
import pytest
from scipy import special, stats

from harness.reporting.statistics.distributions import (
    average_ranks,
    range_of_normals,
    students_t,
)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.975, 0.999])
def test_students_t(level: float) -> None:
    for degrees in (*range(1, 31), 99, 100):
        expected = special.stdtrit(degrees, level)
        assert students_t(degrees, level) == pytest.approx(expected, rel=1e-11, abs=1e-11)


@pytest.mark.parametrize("many", [2, 3, 7, 60])
def test_the_range_of_normals(many: int) -> None:
    expected = stats.studentized_range.ppf(0.95, many, np.inf)
    assert range_of_normals(many, 0.95) == pytest.approx(expected, rel=1e-9)


def test_two_normals_differ_as_one_of_twice_the_variance() -> None:
    expected = np.sqrt(2) * stats.norm.ppf(0.975)
    assert range_of_normals(2, 0.95) == pytest.approx(expected, rel=1e-13)


def test_ranks_with_ties() -> None:
    rows = np.random.default_rng(0).integers(0, 5, size=(20, 9)).astype(float)
    assert np.array_equal(average_ranks(rows), stats.rankdata(rows, axis=1))
