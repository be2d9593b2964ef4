"""How far mean ranks would move with other tasks and other seeds: a bootstrap over both."""

from collections.abc import Mapping, Sequence

import numpy as np

from harness.reporting.statistics.common import FEWEST_TASKS
from harness.reporting.statistics.distributions import average_ranks

RESAMPLES = 1000
LEVEL = 0.95
DIGITS = 5
"""Scores in percent are compared to so many digits: enough for any test set, and few enough that a
browser, which adds in another order, sees the same ties."""

SeedScores = Mapping[str, Mapping[str, Sequence[float]]]
"""{variant: {task: [percent per seed]}}."""


def rank_intervals(
    scores: SeedScores, tasks: Sequence[str], resamples: int = RESAMPLES
) -> dict[str, tuple[float, float]]:
    """95 % percentile interval of each variant's mean rank, among those that have all tasks: each
    resample draws tasks, and for each task and variant seeds, with replacement.

    Empty below 2 such variants or 5 tasks. Draws depend on positions alone, so that the page,
    which computes the same for any choice of methods and tasks, draws the same.
    """
    complete = [name for name, of in scores.items() if all(of.get(task) for task in tasks)]
    if len(complete) < 2 or len(tasks) < FEWEST_TASKS:
        return {}
    many = len(tasks)
    position = np.arange(resamples * many, dtype=np.uint32)
    drawn = (_uniform(position) * many).astype(int)
    table = np.empty((len(position), len(complete)))
    for place, variant in enumerate(complete):
        column = [np.asarray(scores[variant][task], dtype=float) for task in tasks]
        table[:, place] = _means(column, drawn, position, place)
    ranks = average_ranks(-table.round(DIGITS)).reshape(resamples, many, -1).mean(axis=1)
    ordered, last = np.sort(ranks, axis=0), resamples - 1
    low, high = (ordered[round(last * level)] for level in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return {
        variant: (float(low[place]), float(high[place])) for place, variant in enumerate(complete)
    }


def _means(
    column: Sequence[np.ndarray], drawn: np.ndarray, position: np.ndarray, place: int
) -> np.ndarray:
    """At each position the mean of a resample of the seeds of the task that was drawn there."""
    counts = np.array([len(seeds) for seeds in column])
    padded = np.zeros((len(column), int(counts.max())))
    for task, seeds in enumerate(column):
        padded[task, : len(seeds)] = seeds
    many, total = counts[drawn], np.zeros(len(drawn))
    own = hashed(position ^ hashed(np.uint32(place + 1)))
    for seed in range(int(counts.max())):
        picked = (_uniform(own + np.uint32(seed)) * many).astype(int)
        total += np.where(seed < many, padded[drawn, picked], 0)
    return total / many


def hashed(numbers: np.ndarray | np.uint32) -> np.ndarray:
    """A permutation of the whole numbers of 32 bits that looks random: two rounds of multiplying
    and folding, on which a browser's `Math.imul` agrees to the bit."""
    with np.errstate(over="ignore"):
        x = np.atleast_1d(numbers).astype(np.uint32) + np.uint32(0x9E3779B9)
        x = (x ^ (x >> np.uint32(16))) * np.uint32(0x21F0AAAD)
        x = (x ^ (x >> np.uint32(15))) * np.uint32(0x735A2D97)
        return x ^ (x >> np.uint32(15))


def _uniform(numbers: np.ndarray) -> np.ndarray:
    """Numbers from 0 to below 1."""
    return hashed(numbers) / 2.0**32
