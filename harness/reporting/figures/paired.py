"""A method's differences to a baseline, paired by task and seed."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.reporting.section import Section
from harness.reporting.statistics.intervals import bootstrap, interval
from harness.text import first_few


@dataclass(frozen=True)
class Paired:
    """A method's difference to the baseline in points, and its 95 % interval where there are enough
    seeds or tasks for one."""

    mean: float
    span: tuple[float, float] | None

    @property
    def apart(self) -> bool:
        """Whether the interval excludes 0."""
        return self.span is not None and not self.span[0] <= 0 <= self.span[1]


def paired(section: Section, variant: str, baseline: str) -> dict[str, Paired]:
    """By task, over the seeds that both have: mean of the differences and Student's t. Tasks
    without such a seed are left out."""
    by_task = {}
    for task in section.tasks:
        results = (section.results.get((name, task)) for name in (variant, baseline))
        one, other = (result.scores if result else {} for result in results)
        differences = [one[seed] - other[seed] for seed in sorted(one.keys() & other.keys())]
        if differences:
            by_task[task] = Paired(float(np.mean(differences)), interval(differences))
    return by_task


def over_tasks(section: Section, by_task: Mapping[str, Paired]) -> Paired | None:
    """The mean over tasks with its bootstrap, tasks taken as a sample; None where a task is
    missing."""
    means = [by_task[task].mean for task in section.tasks if task in by_task]
    return (
        Paired(float(np.mean(means)), bootstrap(means))
        if len(means) == len(section.tasks)
        else None
    )


def gaps(section: Section, differences: Mapping[str, Mapping[str, Paired]]) -> list[str]:
    """Which methods share no seed with the baseline on some task."""
    lacking = {
        variant: [task for task in section.tasks if task not in of_tasks]
        for variant, of_tasks in differences.items()
    }
    missing = [f"{variant} ({first_few(tasks)})" for variant, tasks in lacking.items() if tasks]
    return (
        [f"No mean, since no seed is shared with the baseline: {', '.join(missing)}."]
        if missing
        else []
    )
