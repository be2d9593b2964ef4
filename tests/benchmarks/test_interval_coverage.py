"""The intervals of a report hold the truth as often as docs/statistics.md says, in fewer
repetitions of the same simulation."""

import interval_coverage
import numpy as np
import pytest

from harness.reporting.statistics.intervals import bootstrap

LIMIT = "a fifth of tasks gain 1, the others nothing"
"""Where no interval is any better: docs/statistics.md says so."""


@pytest.mark.parametrize(("seeds", "plain"), [(3, 0.75), (5, 0.835)])
def test_at_3_and_5_seeds(seeds: int, plain: float) -> None:
    found = interval_coverage.over_seeds(seeds, repetitions=2000)
    assert 0.94 <= found["ours"] <= 0.965
    assert found["percentile"] == pytest.approx(plain, abs=0.03)


@pytest.mark.parametrize("shape", [shape for shape in interval_coverage.SHAPES if shape != LIMIT])
def test_at_19_tasks(shape: str) -> None:
    found = interval_coverage.over_tasks(shape, 19, repetitions=2000)
    assert 0.92 <= found["ours"] <= 0.97
    assert found["percentile"] <= 0.925
    assert found["ours"] >= max(found["studentised"], found["t"])


def test_the_simulation_draws_from_populations_with_the_means_it_says_and_asks_the_report() -> None:
    rng = np.random.default_rng(0)
    for draw, mean in interval_coverage.SHAPES.values():
        assert draw(rng, (200_000, 1)).mean() == pytest.approx(mean, abs=0.03)
    table = rng.normal(size=(3, 19))
    low, high = interval_coverage.bootstraps(table)
    assert [(a, b) for a, b in zip(low, high, strict=True)] == [
        pytest.approx(bootstrap(row)) for row in table
    ]
