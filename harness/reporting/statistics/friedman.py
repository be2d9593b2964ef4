"""Whether methods differ at all: Friedman's test, and Nemenyi's critical difference between mean
ranks; J. Demšar, JMLR 7 (2006)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.reporting.statistics.common import (
    DIGITS,
    FEWEST_TASKS,
    LEVEL,
    TooFew,
    are,
    complete,
    methods_here,
)
from harness.reporting.statistics.distributions import average_ranks, range_of_normals
from harness.reporting.statistics.statistic import Scores


@dataclass(frozen=True)
class Friedman:
    """Whether methods differ at all, and by how much the mean ranks of two must differ for them to
    (Nemenyi, at 0.05)."""

    variants: list[str]
    """In order of rank, the best first."""
    tasks: list[str]
    ranks: dict[str, float]
    """Mean rank over tasks, 1 is the best; ties share the average."""
    chi2: float
    """Friedman's statistic as in Demšar, without correction for ties: with ties it is
    conservative."""
    p: float
    f: float
    """Iman and Davenport's F, less conservative; infinite where all tasks rank all methods
    alike."""
    f_p: float
    critical_difference: float


def friedman(scores: Scores, tasks: Sequence[str]) -> Friedman | TooFew:
    """Friedman's test over tasks, of the variants that have all of them (see `complete`): at least
    3 on at least 5 tasks."""
    # slow to import, which tables without tests don't need
    from scipy.special import chdtrc, fdtrc

    kept, dropped = complete(scores, tasks)
    common = list(next(iter(kept.values()), {}))
    if len(kept) < 3:
        return TooFew(
            f"Friedman's test needs at least 3 methods; {methods_here(len(kept), len(dropped))}."
        )
    if len(common) < FEWEST_TASKS:
        return TooFew(
            f"Friedman's test needs at least {FEWEST_TASKS} tasks; there {are(len(common))}."
        )
    table = np.array([list(of_tasks.values()) for of_tasks in kept.values()]).round(DIGITS)
    k, n = table.shape
    mean_ranks = dict(zip(kept, average_ranks(-table.T).T.mean(axis=1).tolist(), strict=True))
    ranks = dict(sorted(mean_ranks.items(), key=lambda item: item[1]))
    chi2 = (
        12
        * n
        / (k * (k + 1))
        * (math.fsum(rank**2 for rank in ranks.values()) - k * (k + 1) ** 2 / 4)
    )
    chi2, most = max(chi2, 0.0), n * (k - 1)
    if most - chi2 > 1e-9 * most:
        f = (n - 1) * chi2 / (most - chi2)
        f_p = float(fdtrc(k - 1, (k - 1) * (n - 1), f))
    else:  # every task ranks them alike; the probability of that is 1 in k!^(n-1)
        f, f_p = math.inf, math.exp(-(n - 1) * math.lgamma(k + 1))
    difference = range_of_normals(k, 1 - LEVEL) / math.sqrt(2) * math.sqrt(k * (k + 1) / (6 * n))
    return Friedman(
        list(ranks),
        common,
        ranks,
        chi2,
        float(chdtrc(k - 1, chi2)),
        f,
        f_p,
        float(difference),
    )


def cliques(test: Friedman) -> list[list[str]]:
    """The largest groups, of two or more variants in order of rank, whose mean ranks all differ by
    less than the critical difference."""
    order, groups, covered = test.variants, [], 0
    for first in range(len(order)):
        last = max(
            i
            for i in range(first, len(order))
            if test.ranks[order[i]] - test.ranks[order[first]] < test.critical_difference
        )
        if last > first and last + 1 > covered:
            groups.append(order[first : last + 1])
            covered = last + 1
    return groups
