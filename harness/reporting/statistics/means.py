"""Means over tasks, by both conventions of the field. Nothing is imputed: with a missing task a
mean is None."""

from collections.abc import Mapping, Sequence

import numpy as np

from harness.reporting.statistics.statistic import Groups, Statistic


def mean_of(scores: Mapping[str, float], tasks: Sequence[str]) -> float | None:
    """Mean over tasks; None where one is missing, since a mean over other tasks can't be
    compared."""
    if not tasks or any(task not in scores for task in tasks):
        return None
    return float(np.mean([scores[task] for task in tasks]))


def group_means(scores: Mapping[str, float], groups: Groups) -> dict[str, float | None]:
    """Mean over each group's tasks; None where one is missing."""
    return {group: mean_of(scores, tasks) for group, tasks in groups.items()}


def mean_of_groups(scores: Mapping[str, float], groups: Groups) -> float | None:
    """Mean of the groups' means, VTAB's other convention: a small group counts as much as a large
    one. None where a task is missing."""
    means = [mean for mean in group_means(scores, groups).values() if mean is not None]
    return float(np.mean(means)) if means and len(means) == len(groups) else None


def mean_of_present(scores: Mapping[str, float], tasks: Sequence[str]) -> float | None:
    """Mean over the tasks that have a score, to be shown as such and never ranked; None if none
    has."""
    present = [scores[task] for task in tasks if task in scores]
    return float(np.mean(present)) if present else None


MEAN = Statistic(
    "mean",
    of=lambda scores, groups: {
        variant: mean_of(of_tasks, [task for tasks in groups.values() for task in tasks])
        for variant, of_tasks in scores.items()
    },
    title=lambda groups: f"Mean of {sum(map(len, groups.values()))}",
    help="mean over tasks",
    partial=mean_of_present,
)
MEAN_OF_GROUPS = Statistic(
    "mean_of_groups",
    of=lambda scores, groups: {
        variant: mean_of_groups(of_tasks, groups) for variant, of_tasks in scores.items()
    },
    title=lambda groups: f"Mean of {len(groups)} groups",
    help="mean of the groups' means: a small group counts as much as a large one",
    fewest_groups=2,
    beside_groups=True,
)
