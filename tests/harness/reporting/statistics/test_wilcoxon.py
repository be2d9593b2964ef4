"""Tests and intervals against Demšar's worked example, scipy, statsmodels and scikit-posthocs.
Coverage: tests/benchmarks."""

import math
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import scikit_posthocs
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from harness.reporting.statistics.common import TooFew, complete
from harness.reporting.statistics.friedman import Friedman, cliques, friedman
from harness.reporting.statistics.intervals import bootstrap, interval
from harness.reporting.statistics.wilcoxon import Pair, holm, pairwise

ALGORITHMS = ("C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf")
AUC = [
    (0.763, 0.768, 0.771, 0.798),
    (0.599, 0.591, 0.590, 0.569),
    (0.954, 0.971, 0.968, 0.967),
    (0.628, 0.661, 0.654, 0.657),
    (0.882, 0.888, 0.886, 0.898),
    (0.936, 0.931, 0.916, 0.931),
    (0.661, 0.668, 0.609, 0.685),
    (0.583, 0.583, 0.563, 0.625),
    (0.775, 0.838, 0.866, 0.875),
    (1.000, 1.000, 1.000, 1.000),
    (0.940, 0.962, 0.965, 0.962),
    (0.619, 0.666, 0.614, 0.669),
    (0.972, 0.981, 0.975, 0.975),
    (0.957, 0.978, 0.946, 0.970),
]
"""J. Demšar, JMLR 7 (2006), Table 6. On the 13th data set he prints 0.975 twice and ranks them 2
and 3."""
DATA_SETS = [f"data set {number}" for number in range(1, 15)]


def _scores(table: np.ndarray) -> dict[str, dict[str, float]]:
    """A table of [variants, tasks] with names."""
    return {
        f"m{i}": {f"t{j}": float(score) for j, score in enumerate(row)}
        for i, row in enumerate(table)
    }


def _names(table: np.ndarray) -> list[str]:
    return [f"t{j}" for j in range(table.shape[1])]


def _test(table: np.ndarray) -> Friedman:
    found = friedman(_scores(table), _names(table))
    assert isinstance(found, Friedman)
    return found


def _pairs(table: np.ndarray, baseline: str | None = None) -> list[Pair]:
    found = pairwise(_scores(table), _names(table), baseline)
    assert isinstance(found, list)
    return found


@pytest.fixture
def demsar() -> dict[str, dict[str, float]]:
    scores = {
        name: {task: 100 * row[i] for task, row in zip(DATA_SETS, AUC, strict=True)}
        for i, name in enumerate(ALGORITHMS)
    }
    scores["C4.5+cf"]["data set 13"] += 1e-3  # the tie is of print only
    return scores


def test_demsars_example_gives_his_ranks_statistics_and_critical_difference(demsar) -> None:
    found = friedman(demsar, DATA_SETS)
    assert isinstance(found, Friedman)
    assert [round(found.ranks[name], 3) for name in ALGORITHMS] == [3.143, 2.0, 2.893, 1.964]
    assert round(found.chi2, 2) == 9.28
    assert round(found.f, 2) == 3.69
    assert round(found.critical_difference, 2) == 1.25
    assert found.f_p < 0.05  # his F(3, 39) is 2.85 at 0.05
    assert stats.f.ppf(0.95, 3, 39) == pytest.approx(2.85, abs=0.01)
    assert found.variants == ["C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"]
    # "not powerful enough to detect any significant differences": 3.143 - 1.964 < 1.25
    assert cliques(found) == [found.variants]


def test_demsars_example_of_wilcoxon(demsar) -> None:
    """Table 2: C4.5+m against C4.5. He splits the ranks of two ties, 1.5 each way: sums of 93 and
    12; we leave ties out."""
    found = pairwise(demsar, DATA_SETS, baseline="C4.5")
    assert isinstance(found, list)
    pair = next(pair for pair in found if pair.one == "C4.5+m")
    assert (pair.wins, pair.ties, pair.losses, pair.family) == (10, 2, 2, 3)
    # without the two ties every other rank is 2 less
    plus, minus = 93 - 1.5 - 2 * 10, 12 - 1.5 - 2 * 2
    assert pair.statistic == minus
    assert pair.effect == pytest.approx((plus - minus) / (plus + minus))
    assert pair.p < 0.05  # he rejects too


@pytest.mark.parametrize("seed", range(10))
def test_friedman_equals_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(int(rng.integers(3, 9)), int(rng.integers(5, 25))))
    expected = stats.friedmanchisquare(*table)
    found = _test(table)
    assert (found.chi2, found.p) == (
        pytest.approx(expected.statistic),
        pytest.approx(expected.pvalue),
    )
    nemenyi = scikit_posthocs.posthoc_nemenyi_friedman(table.T)
    for i in range(len(table)):
        for j in range(i):
            apart = abs(found.ranks[f"m{i}"] - found.ranks[f"m{j}"]) >= found.critical_difference
            assert apart == (nemenyi.iloc[i, j] <= 0.05)


def test_with_ties_friedmans_statistic_is_below_scipys_which_corrects_for_them() -> None:
    table = np.random.default_rng(0).integers(0, 3, size=(4, 12)).astype(float)
    ties = sum(
        count**3 - count for column in table.T for count in np.unique(column, return_counts=True)[1]
    )
    assert _test(table).chi2 == pytest.approx(
        stats.friedmanchisquare(*table).statistic * (1 - ties / (12 * 4 * (4**2 - 1)))
    )


def test_tasks_that_all_agree() -> None:
    table = np.arange(4)[:, None] + np.arange(6)[None, :] * 1.0
    found = _test(table)
    assert math.isinf(found.f)
    assert found.chi2 == pytest.approx(6 * 3)
    assert found.f_p == pytest.approx(math.factorial(4) ** -5)
    equal = _test(np.ones((3, 6)))
    assert (equal.chi2, equal.p, equal.f, equal.f_p) == (0, 1, 0, 1)
    assert cliques(equal) == [["m0", "m1", "m2"]]


def test_cliques_are_the_largest_groups_within_the_critical_difference() -> None:
    ranks = {"a": 1.0, "b": 1.5, "c": 2.2, "d": 3.0, "e": 9.0}
    found = Friedman(list(ranks), ["t"], ranks, 1.0, 0.5, 1.0, 0.5, critical_difference=1.5)
    assert cliques(found) == [["a", "b", "c"], ["c", "d"]]


@given(st.integers(0, 2**32 - 1), st.integers(5, 24))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_wilcoxon_equals_scipys_exact_test(seed: int, tasks: int) -> None:
    table = np.random.default_rng(seed).normal(size=(2, tasks))
    (pair,) = _pairs(table)
    expected: Any = stats.wilcoxon(table[0], table[1], method="exact")
    assert (pair.statistic, pair.p) == (
        expected.statistic,
        pytest.approx(expected.pvalue, rel=1e-9),
    )
    assert pair.p_holm == pair.p


@pytest.mark.parametrize("seed", range(5))
def test_wilcoxon_with_ties_is_exact_where_scipy_permutes(seed: int) -> None:
    differences = np.random.default_rng(seed).integers(-3, 5, size=9).astype(float)
    differences[0] = 0
    (pair,) = _pairs(np.stack([differences, np.zeros(9)]))
    apart = differences[differences != 0]
    permuted: Any = stats.PermutationMethod(n_resamples=2**9)
    expected: Any = stats.wilcoxon(apart, method=permuted)
    assert (pair.statistic, pair.p) == (expected.statistic, pytest.approx(expected.pvalue))
    assert pair.ties == 9 - len(apart)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_holm_equals_statsmodels(p: list[float]) -> None:
    with patch("gc.collect"):  # which statsmodels calls each time: half a second
        expected: Any = multipletests(p, method="holm")[1]
    np.testing.assert_allclose(holm(p), expected, rtol=1e-12)


def test_the_family_is_what_was_tested() -> None:
    table = np.random.default_rng(3).normal(size=(4, 19)) + np.arange(4)[:, None] * 0.4
    every, against = _pairs(table), _pairs(table, baseline="m1")
    assert [(pair.one, pair.other) for pair in against] == [
        ("m0", "m1"),
        ("m2", "m1"),
        ("m3", "m1"),
    ]
    assert ({pair.family for pair in every}, {pair.family for pair in against}) == ({6}, {3})
    for pairs in (every, against):
        expected: Any = multipletests([pair.p for pair in pairs], method="holm")[1]
        np.testing.assert_allclose([pair.p_holm for pair in pairs], expected)


def test_a_pair_says_how_much() -> None:
    table = np.array([[3.0, 5.0, 1.0, 0.0, 2.0, 9.0], [1.0, 1.0, 2.0, 0.0, 5.0, 3.0]])
    (pair,) = _pairs(table)
    assert (pair.wins, pair.ties, pair.losses) == (3, 1, 2)
    assert pair.mean == pytest.approx(8 / 6)
    assert (pair.low, pair.high) == bootstrap([2, 4, -1, 0, -3, 6])
    assert pair.effect == pytest.approx((2 + 4 + 5 - 1 - 3) / 15)
    (turned,) = _pairs(table[::-1])
    assert (turned.effect, turned.p, turned.mean) == (-pair.effect, pair.p, -pair.mean)


def test_scores_that_differ_by_rounding_only_are_ties() -> None:
    table = np.array([[0.1 + 0.2] * 6, [0.3] * 6, [0.2] * 6])
    first, *_ = _pairs(table)
    assert (first.ties, first.p, first.p_holm, first.effect, first.mean, first.low, first.high) == (
        6,
        1,
        1,
        0,
        0,
        0,
        0,
    )
    assert _test(table).ranks == {"m0": 1.5, "m1": 1.5, "m2": 3}


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (np.eye(2, 6), "Friedman's test needs at least 3 methods; there are 2."),
        (np.eye(3, 4), "Friedman's test needs at least 5 tasks; there are 4."),
    ],
)
def test_too_few_for_friedman_is_said(table: np.ndarray, reason: str) -> None:
    assert friedman(_scores(table), _names(table)) == TooFew(reason)


def test_too_few_for_wilcoxon_is_said() -> None:
    scores = _scores(np.eye(2, 8))
    tasks = list(scores["m0"])
    assert (
        str(pairwise(scores, tasks[:4])) == "Wilcoxon's test needs at least 5 tasks; there are 4."
    )
    assert (
        str(pairwise(scores, tasks))
        == "Wilcoxon's test needs at least 5 tasks with a difference; there are 2."
    )
    assert str(pairwise(scores, tasks, "m7")) == "The baseline m7 has no score here."
    del scores["m1"]["t3"]
    assert str(pairwise(scores, tasks, "m1")) == "The baseline m1 lacks t3."
    assert (
        str(pairwise(scores, tasks))
        == "Wilcoxon's test needs at least 2 methods; there is 1 with a score on every task (1 left"
        " out)."
    )
    assert isinstance(pairwise({}, []), TooFew)
    assert isinstance(friedman({}, []), TooFew)


def test_who_lacks_a_task_is_left_out_and_named() -> None:
    scores = _scores(np.random.default_rng(0).normal(size=(4, 6)))
    del scores["m2"]["t1"], scores["m2"]["t4"]
    tasks = ["nobody's", *scores["m0"]]
    kept, dropped = complete(scores, tasks)
    assert (list(kept), dropped) == (["m0", "m1", "m3"], {"m2": ["t1", "t4"]})
    assert list(kept["m0"]) == list(scores["m0"])
    found = friedman(scores, tasks)
    assert isinstance(found, Friedman)
    assert set(found.variants) == set(kept)


def test_an_interval_over_seeds_is_students() -> None:
    assert interval([80.0]) is None
    low, high = interval([80.0, 82.0, 81.0]) or (0, 0)
    expected = stats.t.interval(0.95, 2, loc=81, scale=1 / math.sqrt(3))
    assert (low, high) == pytest.approx(expected)
    assert interval([80.0, 80.0]) == (80, 80)


def test_a_bootstrap_is_seeded_at_least_as_wide_as_students_and_leans_with_the_skew() -> None:
    values = stats.lognorm.ppf((np.arange(19) + 0.5) / 19, 1).tolist()
    low, high = bootstrap(values) or (0, 0)
    least, most = interval(values) or (0, 0)
    assert (low, high) == bootstrap(values)
    assert low <= least
    assert high > most + 0.2 * (most - least)
    assert bootstrap(values[:4]) is None


def test_a_bootstrap_of_values_without_spread_is_a_point() -> None:
    assert bootstrap([3.5] * 6) == (3.5, 3.5)
    low, high = bootstrap([0, 0, 0, 0, 1]) or (0, 0)
    assert np.isfinite([low, high]).all()
    assert low < 0.2 < high
