"""Two methods under one backbone and one protocol: task by task over the seeds that both have, then
over tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from harness.reporting.leaderboard import TaskResult
from harness.reporting.section import Section
from harness.reporting.statistics.common import DIGITS, LEVEL, TooFew
from harness.reporting.statistics.intervals import interval
from harness.reporting.statistics.wilcoxon import Pair, pairwise


@dataclass(frozen=True)
class TaskDifference:
    """Two methods on one task, in percent and points, over the seeds that both have."""

    task: str
    seeds: list[int]
    one: float
    other: float
    difference: float
    low: float | None
    high: float | None
    """95 % interval of the difference: Student's t over paired seeds; None with one seed."""


@dataclass(frozen=True)
class PairedComparison:
    """`one` against `other` in a section of the leaderboard."""

    section: Section
    one: str
    other: str
    tasks: list[TaskDifference]
    """Those with a seed that both have."""
    lacking: dict[str, str]
    """The other tasks, and why they aren't compared."""
    run: str = ""
    """The command that runs the seeds needed for a claim."""

    @cached_property
    def single(self) -> list[str]:
        """Tasks with one seed, where a difference may be due to the seed: with any, nothing is
        claimed."""
        return [on.task for on in self.tasks if len(on.seeds) < 2]

    @cached_property
    def counts(self) -> tuple[int, int, int]:
        """Wins, ties and losses of `one`."""
        signs = [int(np.sign(round(on.difference, DIGITS))) for on in self.tasks]
        return signs.count(1), signs.count(0), signs.count(-1)

    @cached_property
    def mean(self) -> float | None:
        """Mean difference over tasks in points; None without a task."""
        return float(np.mean([on.difference for on in self.tasks])) if self.tasks else None

    @cached_property
    def test(self) -> Pair | TooFew:
        """Over tasks taken as a sample."""
        scores = {
            self.one: {on.task: on.one for on in self.tasks},
            self.other: {on.task: on.other for on in self.tasks},
        }
        result = pairwise(scores, [on.task for on in self.tasks])
        return result if isinstance(result, TooFew) else result[0]

    @cached_property
    def fixed(self) -> tuple[float, float] | None:
        """95 % interval of the mean difference on just these tasks, Student's t over seeds; None
        if the tasks don't all share two seeds."""
        pairs = [
            (self._scores(self.one, on.task), self._scores(self.other, on.task))
            for on in self.tasks
        ]
        seeds = (
            sorted(set.intersection(*(set(on.seeds) for on in self.tasks))) if self.tasks else []
        )
        return interval(
            [float(np.mean([one[seed] - other[seed] for one, other in pairs])) for seed in seeds]
        )

    @cached_property
    def claim(self) -> str:
        """`nothing` (no task to compare), `refused` (single seeds), `no test` (too few tasks),
        `better`, `worse` or `not significant`."""
        if not self.tasks:
            return "nothing"
        if self.single:
            return "refused"
        if isinstance(self.test, TooFew):
            return "no test"
        if self.test.p >= LEVEL:
            return "not significant"
        return "better" if self.test.effect > 0 else "worse"

    @cached_property
    def notes(self) -> list[str]:
        """What the two don't share, which may explain a difference."""
        lacking, notes = [f"{task} ({why})" for task, why in self.lacking.items()], []
        if lacking:
            notes.append(f"Not compared: {', '.join(lacking)}.")
        pairs = {
            on.task: (
                self.section.results[self.one, on.task],
                self.section.results[self.other, on.task],
            )
            for on in self.tasks
        }
        apart = [
            f"{on.task} ({len(on.seeds)})"
            for on in self.tasks
            if any(row.n != len(on.seeds) for row in pairs[on.task])
        ]
        if apart:
            notes.append(
                f"Compared on the seeds that both have, although one has more: {', '.join(apart)}."
            )
        budgets = [
            (one.cell.trials, other.cell.trials)
            for one, other in pairs.values()
            if one.cell.trials != other.cell.trials
        ]
        if budgets:
            spans = (
                f"{name} {_span(column)}"
                for name, column in zip(
                    (self.one, self.other), zip(*budgets, strict=True), strict=True
                )
            )
            notes.append(
                f"Tuning budgets differ on {len(budgets)} of {len(pairs)} tasks: {', '.join(spans)}"
                " trials per task."
            )
        for name in ("data", "pixels"):
            differing = [
                task
                for task, (one, other) in pairs.items()
                if getattr(one.cell, name) != getattr(other.cell, name)
            ]
            if differing:
                notes.append(f"Not like for like, since {name} differ: {', '.join(differing)}.")
        for index, name in enumerate((self.one, self.other)):
            versions = sorted({pair[index].cell.version for pair in pairs.values()})
            if len(versions) > 1:
                notes.append(
                    f"{name} was run in versions {', '.join(versions)} on different tasks."
                )
        return notes + sorted(
            {row.cell.note for pair in pairs.values() for row in pair if row.cell.note}
        )

    def _scores(self, variant: str, task: str) -> dict[int, float]:
        return self.section.results[variant, task].scores


def paired_comparison(section: Section, one: str, other: str) -> PairedComparison:
    """Pairs the seeds of two of a section's variants on each of its tasks, the requested ones
    first."""
    compared, lacking = [], {}
    for task in dict.fromkeys([*(section.wanted or ()), *section.tasks]):
        rows = {variant: section.results.get((variant, task)) for variant in (one, other)}
        scores = [row.scores if row else {} for row in rows.values()]
        seeds = sorted(scores[0].keys() & scores[1].keys())
        if not seeds:
            absent = [
                _absent(variant, row) for variant, row in rows.items() if row is None or not row.n
            ]
            lacking[task] = ", ".join(absent) or "no seed in common"
            continue
        pairs = [(scores[0][seed], scores[1][seed]) for seed in seeds]
        differences = [a - b for a, b in pairs]
        low, high = interval(differences) or (None, None)
        mean_one, mean_other, difference = (
            float(np.mean(column)) for column in (*zip(*pairs, strict=True), differences)
        )
        compared.append(TaskDifference(task, seeds, mean_one, mean_other, difference, low, high))
    return PairedComparison(section, one, other, compared, lacking)


def _absent(variant: str, row: TaskResult | None) -> str:
    reasons = list(row.gaps.values()) if row else []
    return f"{variant} failed: {reasons[0]}" if reasons else f"{variant} has no score"


def _span(values: Sequence[int]) -> str:
    return str(min(values)) if min(values) == max(values) else f"{min(values)}-{max(values)}"
