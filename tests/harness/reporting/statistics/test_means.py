"""Means and ranks against numpy and scipy, and what happens where a score is missing."""

import numpy as np
import pytest
from scipy.stats import rankdata

from harness.reporting.statistics.common import common_tasks
from harness.reporting.statistics.means import group_means, mean_of, mean_of_groups
from harness.reporting.statistics.ranks import mean_ranks

TASKS = [f"t{index}" for index in range(7)]
GROUPS = {"a": TASKS[:4], "b": TASKS[4:6], "c": TASKS[6:]}


@pytest.fixture
def table() -> np.ndarray:
    return np.random.default_rng(0).uniform(20, 100, size=(5, len(TASKS))).round(1)


def _scores(table: np.ndarray) -> dict[str, dict[str, float]]:
    return {
        f"m{row}": dict(zip(TASKS, values.tolist(), strict=True))
        for row, values in enumerate(table)
    }


def test_both_conventions_of_the_mean(table: np.ndarray) -> None:
    scores = _scores(table)["m0"]
    groups = [table[0, :4].mean(), table[0, 4:6].mean(), table[0, 6]]
    assert mean_of(scores, TASKS) == pytest.approx(table[0].mean(), abs=1e-12)
    assert list(group_means(scores, GROUPS).values()) == pytest.approx(groups)
    assert mean_of_groups(scores, GROUPS) == pytest.approx(np.mean(groups))


def test_a_missing_task_leaves_no_mean() -> None:
    scores = dict.fromkeys(TASKS[1:], 50.0)
    assert mean_of(scores, TASKS) is None
    assert group_means(scores, GROUPS) == {"a": None, "b": 50.0, "c": 50.0}
    assert mean_of_groups(scores, GROUPS) is None
    assert mean_of(scores, []) is mean_of_groups(scores, {}) is None


def test_mean_ranks_are_scipys(table: np.ndarray) -> None:
    table[1, 2] = table[3, 2] = table[4, 2]
    expected = rankdata(-table, axis=0).mean(axis=1)
    assert list(mean_ranks(_scores(table), TASKS).values()) == pytest.approx(expected)


def test_ties_share_the_average_rank() -> None:
    scores = {"x": {"t": 90.0}, "y": {"t": 80.0}, "z": {"t": 80.0}, "w": {"t": 70.0}}
    assert mean_ranks(scores, ["t"]) == {"x": 1.0, "y": 2.5, "z": 2.5, "w": 4.0}


def test_the_order_of_seeds_makes_no_rank() -> None:
    seeds = [0.1, 0.2, 0.3]
    forward, backward = sum(seeds), sum(reversed(seeds))
    assert forward != backward
    assert mean_ranks({"x": {"t": forward}, "y": {"t": backward}}, ["t"]) == {"x": 1.5, "y": 1.5}


def test_a_variant_that_lacks_a_task_has_no_rank_and_changes_no_other() -> None:
    scores = {"x": {"t0": 1.0, "t1": 9.0}, "y": {"t0": 2.0}, "z": {"t0": 3.0, "t1": 1.0}}
    assert common_tasks(scores, TASKS) == ["t0"]
    assert mean_ranks(scores, ["t0", "t1"]) == {"x": 1.5, "y": None, "z": 1.5}
    assert mean_ranks({"y": {"t0": 2.0}}, ["t0", "t1"]) == {"y": None}
    assert mean_ranks(scores, []) == dict.fromkeys("xyz")
    assert mean_ranks({}, TASKS) == {}
