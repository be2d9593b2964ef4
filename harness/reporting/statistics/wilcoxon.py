"""Two methods at a time: Wilcoxon's signed-rank test over tasks with Holm's correction; J. Demšar,
JMLR 7 (2006)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np

from harness.reporting.statistics.common import (
    DIGITS,
    FEWEST_TASKS,
    TooFew,
    are,
    complete,
    methods_here,
)
from harness.reporting.statistics.distributions import average_ranks
from harness.reporting.statistics.intervals import bootstraps
from harness.reporting.statistics.statistic import Scores


@dataclass(frozen=True)
class Pair:
    """`one` against `other` over tasks."""

    one: str
    other: str
    tasks: list[str]
    wins: int
    ties: int
    losses: int
    mean: float
    """Mean of the differences `one` - `other`, in percentage points."""
    low: float
    high: float
    """95 % interval of it, tasks taken as a sample: `bootstrap`."""
    statistic: float
    """Wilcoxon's: the smaller of the two sums of ranks."""
    p: float
    """Two-sided and exact; tasks without a difference are left out of the test. 1 where there is no
    difference at all."""
    p_holm: float
    """`p` by Holm's step-down correction over the `family`."""
    effect: float
    """Matched-pairs rank-biserial correlation, -1 to 1: the share of the ranks for `one` minus that
    for `other`."""
    family: int
    """How many pairs were tested together."""


def pairwise(
    scores: Scores, tasks: Sequence[str], baseline: str | None = None
) -> list[Pair] | TooFew:
    """Wilcoxon's signed-rank test of all pairs of variants that have all tasks (see `complete`), or
    of each against the baseline.

    In the order of `scores`, the baseline as `other`. There is no test with fewer than 5 tasks,
    or if no pair differs on 5.
    """
    kept, dropped = complete(scores, tasks)
    common = list(next(iter(kept.values()), {}))
    if baseline is not None and baseline not in kept:
        why = (
            f"lacks {', '.join(dropped[baseline])}"
            if dropped.get(baseline)
            else "has no score here"
        )
        return TooFew(f"The baseline {baseline} {why}.")
    if len(kept) < 2:
        return TooFew(
            f"Wilcoxon's test needs at least 2 methods; {methods_here(len(kept), len(dropped))}."
        )
    if len(common) < FEWEST_TASKS:
        return TooFew(
            f"Wilcoxon's test needs at least {FEWEST_TASKS} tasks; there {are(len(common))}."
        )
    order = list(kept)
    names = (
        list(combinations(order, 2))
        if baseline is None
        else [(variant, baseline) for variant in order if variant != baseline]
    )
    table = {variant: np.array(list(of_tasks.values())) for variant, of_tasks in kept.items()}
    differences = np.array([table[one] - table[other] for one, other in names]).round(DIGITS)
    most = int((differences != 0).sum(axis=1).max())
    if 0 < most < FEWEST_TASKS:
        return TooFew(
            f"Wilcoxon's test needs at least {FEWEST_TASKS} tasks with a difference; there"
            f" {are(most)}."
        )
    ranks = _signed_ranks(differences)
    sums = [(math.fsum(row[row > 0]), -math.fsum(row[row < 0])) for row in ranks]
    p = [
        _exact(tuple(sorted((2 * np.abs(row[row != 0])).astype(int).tolist())), min(pair))
        for row, pair in zip(ranks, sums, strict=True)
    ]
    lows, highs = bootstraps(differences)
    corrected = holm(p)
    pairs = []
    for index, (one, other) in enumerate(names):
        row, (plus, minus) = differences[index], sums[index]
        counts = (int((row > 0).sum()), int((row == 0).sum()), int((row < 0).sum()))
        over_tasks = (float(row.mean()), float(lows[index]), float(highs[index]))
        effect = (plus - minus) / (plus + minus) if plus + minus else 0.0
        pairs.append(
            Pair(
                one,
                other,
                common,
                *counts,
                *over_tasks,
                min(plus, minus),
                p[index],
                corrected[index],
                effect,
                len(names),
            )
        )
    return pairs


def holm(p: Sequence[float]) -> list[float]:
    """p-values by Holm's step-down correction for as many tests as there are; S. Holm, Scand. J.
    Statist. 6 (1979)."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(np.array(p)[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(stepped, 1)
    return corrected.tolist()


def _signed_ranks(differences: np.ndarray) -> np.ndarray:
    """Each row's ranks by size, from 1, with the differences' signs; zeros have rank 0."""
    sizes = np.abs(differences)
    none = (sizes == 0).sum(axis=1, keepdims=True)
    return np.sign(differences) * (average_ranks(sizes) - none)


def _exact(doubled: tuple[int, ...], smaller: float) -> float:
    """Probability that the smaller sum of ranks is at most this if every sign is a fair coin flip;
    exact with ties too, for which scipy approximates.

    `doubled`: the ranks times two, since ties share halves.
    """
    return min(1.0, 2 * float(_sums(doubled)[: round(2 * smaller) + 1].sum()))


@lru_cache(maxsize=1024)
def _sums(doubled: tuple[int, ...]) -> np.ndarray:
    """The probability of each sum of a random subset of the ranks."""
    chances = np.zeros(sum(doubled) + 1)
    chances[0] = 1
    for rank in doubled:
        with_it = np.zeros_like(chances)
        with_it[rank:] = chances[: len(chances) - rank]
        chances = (chances + with_it) / 2
    return chances
