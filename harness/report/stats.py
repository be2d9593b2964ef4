"""What a leaderboard says of a method over many tasks: means, means of groups, ranks. Nothing is filled in: a missing task is None."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import rankdata

Scores = Mapping[str, Mapping[str, float]]
"""Mean score in percent: {variant: {task: score}}. What is missing isn't there."""


def mean_of(scores: Mapping[str, float], tasks: Sequence[str]) -> float | None:
    """Mean over tasks; None where one is missing, since a mean over other tasks can't be compared."""
    if not tasks or any(task not in scores for task in tasks):
        return None
    return float(np.mean([scores[task] for task in tasks]))


def group_means(scores: Mapping[str, float], groups: Mapping[str, Sequence[str]]) -> dict[str, float | None]:
    """Mean over each group's tasks; None where one is missing. `groups`: {group: its tasks}."""
    return {group: mean_of(scores, tasks) for group, tasks in groups.items()}


def mean_of_groups(scores: Mapping[str, float], groups: Mapping[str, Sequence[str]]) -> float | None:
    """Mean of the groups' means, the VPT paper's other convention: small groups count as much as large ones. None where a task is missing."""
    means = [mean for mean in group_means(scores, groups).values() if mean is not None]
    return float(np.mean(means)) if means and len(means) == len(groups) else None


def common_tasks(scores: Scores, tasks: Sequence[str]) -> list[str]:
    """The tasks that every variant has a score on."""
    return [task for task in tasks if all(task in of_tasks for of_tasks in scores.values())]


def mean_ranks(scores: Scores, tasks: Sequence[str]) -> dict[str, float | None]:
    """Mean rank of each variant, 1 the best, over the tasks that every variant has; ties share the average. None where there is no such task."""
    common = common_tasks(scores, tasks)
    if not common or not scores:
        return dict.fromkeys(scores)
    table = np.array([[of_tasks[task] for task in common] for of_tasks in scores.values()])
    return dict(zip(scores, rankdata(-table, method="average", axis=0).mean(axis=1).tolist(), strict=True))
