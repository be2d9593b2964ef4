"""Intervals of mean ranks against a slow rewrite, and what they must do in clear cases."""

import itertools

import numpy as np
import pytest
from scipy.stats import rankdata

from harness.reporting.statistics.rank_intervals import hashed, rank_intervals


def scores_of(table: np.ndarray) -> dict[str, dict[str, list[float]]]:
    """[variant, task, seed] by name."""
    return {
        f"v{v}": {f"t{t}": table[v, t].tolist() for t in range(table.shape[1])}
        for v in range(len(table))
    }


def test_a_clear_order_has_no_width() -> None:
    table = np.array([90.0, 60.0, 30.0])[:, None, None] + np.random.default_rng(0).uniform(
        0, 5, (3, 6, 4)
    )
    found = rank_intervals(scores_of(table), [f"t{t}" for t in range(6)])
    assert found == {"v0": (1, 1), "v1": (2, 2), "v2": (3, 3)}


def test_too_few_tasks_or_methods_have_none() -> None:
    table = np.ones((3, 6, 2))
    assert rank_intervals(scores_of(table), ["t0", "t1", "t2", "t3"]) == {}
    assert rank_intervals(scores_of(table[:1]), [f"t{t}" for t in range(6)]) == {}


def test_it_is_a_bootstrap_over_tasks_and_seeds() -> None:
    """A slow one with another generator gives the same ends, but for its noise."""
    draw = np.random.default_rng(3)
    table = 60 + draw.normal(0, 1, (4, 8, 1)) + draw.normal(0, 1.5, (4, 8, 3))
    tasks = [f"t{t}" for t in range(8)]
    found = rank_intervals(scores_of(table), tasks, resamples=4000)
    means = []
    for _ in range(1500):
        columns = draw.integers(0, 8, 8)
        sampled = np.array(
            [[draw.choice(table[v, t], 3).mean() for v in range(4)] for t in columns]
        )
        means.append(rankdata(-sampled, axis=1).mean(axis=0))
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    for v in range(4):
        assert found[f"v{v}"] == pytest.approx((low[v], high[v]), abs=0.15)


def test_draws_are_spread_evenly() -> None:
    numbers = hashed(np.arange(60_000, dtype=np.uint32))
    assert len(set(numbers.tolist())) == 60_000
    counts = np.bincount((numbers / 2**32 * 6).astype(int), minlength=6)
    assert abs(counts - 10_000).max() < 400  # 4 standard deviations are 365
    for shift, other in itertools.product((1, 7), (3, 5)):
        pairs = np.bincount(
            (numbers[:-shift] / 2**32 * other).astype(int) * other
            + (numbers[shift:] / 2**32 * other).astype(int)
        )
        assert abs(pairs / pairs.mean() - 1).max() < 0.1
