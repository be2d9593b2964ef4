"""What the tests over tasks share: their level, which methods take part, and the sentence shown
when there is too little to test.

Tests follow J. Demšar, Statistical comparisons of classifiers over multiple data sets, JMLR 7
(2006): tasks are a sample, a method's score on a task is one number, the mean over its seeds.
Scores are compared to 9 digits: the same ones in another order of seeds are a tie.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.reporting.statistics.statistic import Scores

LEVEL = 0.05
DIGITS = 9
FEWEST_TASKS = 5
"""With fewer there is no test and no bootstrap over tasks."""


@dataclass(frozen=True)
class TooFew:
    """Returned instead of a test: why there is none, in one sentence."""

    reason: str

    def __str__(self) -> str:
        return self.reason


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


def common_tasks(scores: Scores, tasks: Sequence[str]) -> list[str]:
    """The tasks that every variant has a score on."""
    return [task for task in tasks if all(task in of_tasks for of_tasks in scores.values())]


def methods_here(kept: int, dropped: int) -> str:
    text = f"there {are(kept)}"
    return f"{text} with a score on every task ({dropped} left out)" if dropped else text


def are(count: int) -> str:
    return f"{'is' if count == 1 else 'are'} {count or 'none'}"
