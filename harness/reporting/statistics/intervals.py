"""Intervals of means: over a score's seeds, over tasks taken as a sample, and of the difference
between two methods."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from harness.reporting.statistics.common import FEWEST_TASKS
from harness.reporting.statistics.distributions import students_t


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Student's t for the mean of seeds' scores, drawn from one normal distribution; None below 2
    values."""
    if len(values) < 2:
        return None
    mean, half = (
        float(np.mean(values)),
        float(
            students_t(len(values) - 1, (1 + level) / 2) * _standard_errors(np.array([values]))[0]
        ),
    )
    return mean - half, mean + half


def _standard_errors(table: np.ndarray) -> np.ndarray:
    """Of each row's mean."""
    return table.std(axis=1, ddof=1) / np.sqrt(table.shape[1])


def bootstrap(
    values: Sequence[float], level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float] | None:
    """Studentised bootstrap for a mean over tasks taken as a sample; None below 5 values.

    Each side is at least as wide as Student's t: the bootstrap alone covers skewed scores better
    than t and heavy-tailed ones worse (docs/statistics.md has both measured). Efron & Tibshirani,
    An introduction to the bootstrap (1993), 12.5.
    """
    if len(values) < FEWEST_TASKS:
        return None
    low, high = bootstraps(np.array([values], dtype=float), level, resamples, seed)
    return float(low[0]), float(high[0])


def bootstraps(
    table: np.ndarray, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """`bootstrap` of each row: lower and upper ends. The rows share their resamples."""
    n, means = table.shape[1], table.mean(axis=1)
    half = students_t(n - 1, (1 + level) / 2) * _standard_errors(table)
    low, high = studentised(table, level, resamples, seed)
    return np.fmin(low, means - half), np.fmax(high, means + half)


def studentised(
    table: np.ndarray, level: float, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The studentised bootstrap alone, of each row's mean; NaN where no resample has a spread."""
    n, means, errors = table.shape[1], table.mean(axis=1), _standard_errors(table)
    counts, tails = _resamples(n, resamples, seed), ((1 - level) / 2, (1 + level) / 2)
    low, high = np.empty(len(table)), np.empty(len(table))
    for start in range(0, len(table), 256):  # some rows at a time: memory
        part = slice(start, start + 256)
        apart = table[part] - means[part, None]
        shifts = counts @ apart.T / n
        variances = (counts @ (apart**2).T - n * shifts**2) / (n - 1)
        # t isn't defined for a resample of equal values: left out
        alike = variances <= 1e-9 * (apart**2).max(axis=1)
        t = np.where(alike, np.nan, shifts / np.sqrt(np.where(alike, 1, variances) / n))
        below, above = _quantiles(t, tails)
        low[part], high[part] = (
            means[part] - above * errors[part],
            means[part] - below * errors[part],
        )
    return low, high


@lru_cache(maxsize=8)
def _resamples(n: int, resamples: int, seed: int) -> np.ndarray:
    """How often each resample drew each of n values: [resamples, n]."""
    return (
        np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples).astype(float)
    )


def _quantiles(columns: np.ndarray, levels: Sequence[float]) -> list[np.ndarray]:
    """Quantiles of each column without its NaN; NaN where a column has nothing else."""
    ordered = np.sort(columns, axis=0)  # NaN last
    last = (~np.isnan(ordered)).sum(axis=0) - 1
    every = np.arange(columns.shape[1])
    return [ordered[np.rint(np.maximum(last, 0) * level).astype(int), every] for level in levels]


@dataclass(frozen=True)
class Difference:
    """How much better one method is than another, in percentage points, with a 95 % interval; None
    with too few tasks."""

    mean: float
    low: float | None
    high: float | None


def mean_difference(
    one: Mapping[str, Mapping[int, float]], other: Mapping[str, Mapping[int, float]]
) -> Difference | None:
    """Mean over tasks of the difference `one` - `other`; scores are {task: {seed: percent}}, paired
    by task and seed.

    The interval is Student's t over tasks taken as a sample, each task's difference averaged over
    its seeds, so that it covers the spread of both. None if the two don't have the same tasks, or
    share no seed on one.
    """
    if not one or one.keys() != other.keys():
        return None
    differences = []
    for task in one:
        seeds = one[task].keys() & other[task].keys()
        if not seeds:
            return None
        differences.append(np.mean([one[task][seed] - other[task][seed] for seed in seeds]))
    mean = float(np.mean(differences))
    if len(differences) < 3:
        return Difference(mean, None, None)
    half = float(
        students_t(len(differences) - 1, 0.975) * _standard_errors(np.array([differences]))[0]
    )
    return Difference(mean, mean - half, mean + half)
