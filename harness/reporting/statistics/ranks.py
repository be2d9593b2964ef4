"""Mean ranks over tasks."""

from collections.abc import Sequence

import numpy as np

from harness.reporting.statistics.statistic import Scores, Statistic


def mean_ranks(scores: Scores, tasks: Sequence[str]) -> dict[str, float | None]:
    """Mean rank of each variant over the tasks, 1 is the best, among the variants that have all
    of them. Ties share the average.

    None for a variant that lacks a task: it isn't ranked, and doesn't change the ranks of the
    others.
    """
    complete = [
        variant
        for variant, of_tasks in scores.items()
        if tasks and all(task in of_tasks for task in tasks)
    ]
    ranks: dict[str, float | None] = dict.fromkeys(scores)
    if complete:
        table = np.array([[scores[variant][task] for task in tasks] for variant in complete])
        table = table.round(9)  # the same scores in another order of seeds are a tie
        above = (table > table[:, None]).sum(axis=1)
        equal = (table == table[:, None]).sum(axis=1)
        of_tasks = above + (equal + 1) / 2
        ranks.update(zip(complete, of_tasks.mean(axis=1).tolist(), strict=True))
    return ranks


MEAN_RANK = Statistic(
    "mean_rank",
    of=lambda scores, groups: mean_ranks(
        scores, [task for tasks in groups.values() for task in tasks]
    ),
    title=lambda groups: "Rank",
    help="mean rank over tasks, among those that have all of them",
    lowest_is_best=True,
    fewest_variants=2,
)
