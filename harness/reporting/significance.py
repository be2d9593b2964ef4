"""What may be concluded from scores: intervals of means, tests over tasks, and a sentence where
there is too little to test.

Tests follow J. Demšar, Statistical comparisons of classifiers over multiple data sets, JMLR 7
(2006): tasks are a sample, a method's score on a task is one number, the mean over its seeds. Equal
means equal to 9 digits: the same scores in another order of seeds are a tie.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np

from harness.reporting.intervals import FEWEST_TASKS, bootstraps
from harness.reporting.stats import Scores

LEVEL = 0.05
DIGITS = 9


@dataclass(frozen=True)
class TooFew:
    """In place of a test: why there is none, in one sentence."""

    reason: str

    def __str__(self) -> str:
        return self.reason


# Which methods take part.


def complete(
    scores: Scores, tasks: Sequence[str]
) -> tuple[dict[str, dict[str, float]], dict[str, list[str]]]:
    """The variants that have every task, with their scores on these; and those left out, each with
    the tasks it lacks.

    A task on which nobody has a score doesn't count.
    """
    wanted = [task for task in tasks if any(task in of_tasks for of_tasks in scores.values())]
    lacking = {
        variant: [task for task in wanted if task not in of_tasks]
        for variant, of_tasks in scores.items()
    }
    kept = {
        variant: {task: scores[variant][task] for task in wanted}
        for variant, lacks in lacking.items()
        if wanted and not lacks
    }
    return kept, {variant: lacks for variant, lacks in lacking.items() if variant not in kept}


# All methods at once.


@dataclass(frozen=True)
class Friedman:
    """Whether methods differ at all, and by how much mean ranks must differ for two of them to
    (Nemenyi, at 0.05)."""

    variants: list[str]
    """In order of rank, the best first."""
    tasks: list[str]
    ranks: dict[str, float]
    """Mean rank over tasks, 1 the best; ties share the average."""
    chi2: float
    """Friedman's statistic as Demšar has it, without correction for ties: with ties it errs towards
    no difference."""
    p: float
    f: float
    """Iman and Davenport's F, less conservative; infinite where all tasks rank all methods
    alike."""
    f_p: float
    critical_difference: float


def friedman(scores: Scores, tasks: Sequence[str]) -> Friedman | TooFew:
    """Friedman's test over tasks, of the variants that have all of them (see `complete`): at least
    3 on at least 5 tasks."""
    from scipy import stats  # a second to import, which tables without tests needn't wait for

    kept, dropped = complete(scores, tasks)
    common = list(next(iter(kept.values()), {}))
    if len(kept) < 3:
        return TooFew(f"Friedman's test takes 3 methods, {_have(len(kept), len(dropped))}.")
    if len(common) < FEWEST_TASKS:
        return TooFew(f"Friedman's test takes {FEWEST_TASKS} tasks, here {_are(len(common))}.")
    table = np.array([list(of_tasks.values()) for of_tasks in kept.values()]).round(DIGITS)
    k, n = table.shape
    found = dict(zip(kept, stats.rankdata(-table, axis=0).mean(axis=1).tolist(), strict=True))
    ranks = dict(sorted(found.items(), key=lambda item: item[1]))
    chi2 = (
        12
        * n
        / (k * (k + 1))
        * (math.fsum(rank**2 for rank in ranks.values()) - k * (k + 1) ** 2 / 4)
    )
    chi2, most = max(chi2, 0.0), n * (k - 1)
    if most - chi2 > 1e-9 * most:
        f = (n - 1) * chi2 / (most - chi2)
        f_p = float(stats.f.sf(f, k - 1, (k - 1) * (n - 1)))
    else:  # every task ranks them alike, which by chance happens once in k!^(n-1)
        f, f_p = math.inf, math.exp(-(n - 1) * math.lgamma(k + 1))
    difference = (
        stats.studentized_range.ppf(1 - LEVEL, k, np.inf)
        / math.sqrt(2)
        * math.sqrt(k * (k + 1) / (6 * n))
    )
    return Friedman(
        list(ranks),
        common,
        ranks,
        chi2,
        float(stats.chi2.sf(chi2, k - 1)),
        f,
        f_p,
        float(difference),
    )


def cliques(found: Friedman) -> list[list[str]]:
    """The largest groups, of two or more variants in order of rank, whose mean ranks all differ by
    less than the critical difference."""
    order, groups, covered = found.variants, [], 0
    for first in range(len(order)):
        last = max(
            i
            for i in range(first, len(order))
            if found.ranks[order[i]] - found.ranks[order[first]] < found.critical_difference
        )
        if last > first and last + 1 > covered:
            groups.append(order[first : last + 1])
            covered = last + 1
    return groups


# Two methods at a time.


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
    """Matched-pairs rank-biserial correlation, -1 to 1: the share of the ranks for `one` less that
    for `other`."""
    family: int
    """How many pairs were tested together."""


def pairwise(
    scores: Scores, tasks: Sequence[str], baseline: str | None = None
) -> list[Pair] | TooFew:
    """Wilcoxon's signed-rank test of all pairs of variants that have all tasks (see `complete`), or
    of each against the baseline.

    In the scores' order, the baseline as `other`. There is no test with fewer than 5 tasks, or
    where no pair differs on 5.
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
        return TooFew(f"Wilcoxon's test takes 2 methods, {_have(len(kept), len(dropped))}.")
    if len(common) < FEWEST_TASKS:
        return TooFew(f"Wilcoxon's test takes {FEWEST_TASKS} tasks, here {_are(len(common))}.")
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
            f"Wilcoxon's test takes {FEWEST_TASKS} tasks with a difference, here {_are(most)}."
        )
    ranks = _signed_ranks(differences)
    sums = [(math.fsum(row[row > 0]), -math.fsum(row[row < 0])) for row in ranks]
    p = [
        _exact(tuple(sorted((2 * np.abs(row[row != 0])).astype(int).tolist())), min(pair))
        for row, pair in zip(ranks, sums, strict=True)
    ]
    lows, highs = bootstraps(differences)
    corrected = holm(p)
    found = []
    for index, (one, other) in enumerate(names):
        row, (plus, minus) = differences[index], sums[index]
        counts = (int((row > 0).sum()), int((row == 0).sum()), int((row < 0).sum()))
        over_tasks = (float(row.mean()), float(lows[index]), float(highs[index]))
        effect = (plus - minus) / (plus + minus) if plus + minus else 0.0
        found.append(
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
    return found


def holm(p: Sequence[float]) -> list[float]:
    """p-values by Holm's step-down correction for as many tests as there are; S. Holm, Scand. J.
    Statist. 6 (1979)."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(np.array(p)[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(stepped, 1)
    return corrected.tolist()


def _signed_ranks(differences: np.ndarray) -> np.ndarray:
    """Each row's ranks by size, from 1, with the differences' signs; what is 0 has none."""
    from scipy.stats import rankdata

    sizes = np.abs(differences)
    none = (sizes == 0).sum(axis=1, keepdims=True)
    return np.sign(differences) * (rankdata(sizes, axis=1) - none)


def _exact(doubled: tuple[int, ...], smaller: float) -> float:
    """P that the smaller sum of ranks is at most this, were every sign a coin's toss; exact with
    ties too, where scipy approximates.

    `doubled`: the ranks times two, since ties share halves.
    """
    return min(1.0, 2 * float(_sums(doubled)[: round(2 * smaller) + 1].sum()))


@lru_cache(maxsize=1024)
def _sums(doubled: tuple[int, ...]) -> np.ndarray:
    """The probability of each sum that a random half of the ranks has."""
    chances = np.zeros(sum(doubled) + 1)
    chances[0] = 1
    for rank in doubled:
        with_it = np.zeros_like(chances)
        with_it[rank:] = chances[: len(chances) - rank]
        chances = (chances + with_it) / 2
    return chances


def _have(kept: int, dropped: int) -> str:
    said = f"here {_are(kept)}"
    return f"{said} with a score on every task ({dropped} left out)" if dropped else said


def _are(count: int) -> str:
    return f"{'is' if count == 1 else 'are'} {count or 'none'}"
