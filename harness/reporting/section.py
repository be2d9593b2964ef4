"""The parts of a leaderboard whose scores may be compared, and a variant's summary in one."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from harness.errors import BadInput
from harness.reporting.costs import COSTS, ppt
from harness.reporting.leaderboard import COMPARABLE, TaskResult
from harness.reporting.rows import CellSummary
from harness.reporting.section_names import section_names, with_metrics
from harness.reporting.statistics import STATISTICS
from harness.reporting.statistics.common import common_tasks
from harness.reporting.statistics.intervals import interval
from harness.reporting.statistics.means import group_means, mean_of, mean_of_present
from harness.reporting.statistics.rank_intervals import rank_intervals
from harness.reporting.statistics.ranks import mean_ranks

Sort = Literal["mean", "rank", "params"]
SHARED = ("backbone", "backbone_sha", "side", "normalize", "protocol", "protocol_digest", "metric")
"""Fields of `CellSummary` by which a machine-readable row describes its section."""


@dataclass(frozen=True)
class Section:
    """The part of a leaderboard whose scores may be compared: one backbone, one protocol, one
    metric."""

    suite: str
    backbone: str
    protocol: str
    board: list[TaskResult]
    wanted: tuple[str, ...] | None
    """The requested tasks, in order; None: all there are."""
    sort: Sort = "mean"
    left_out: tuple[str, ...] = ()
    """Tasks that `complete_only` leaves out because a method lacks them."""
    without: tuple[str, ...] = ()
    """Variants that `complete_only` leaves out because they have no score at all."""

    @property
    def first(self) -> CellSummary:
        """Any row's cell: for what all rows of a section share."""
        return self.board[0].cell

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """Tasks by group, both in the requested order, else in the plan's."""
        order = {task: index for index, task in enumerate(self.wanted or ())}
        groups: dict[str, list[str]] = {}
        for row in sorted(self.board, key=lambda row: order.get(row.task, 0)):
            tasks = groups.setdefault(row.cell.group, [])
            if row.task not in tasks:
                tasks.append(row.task)
        return groups

    @cached_property
    def tasks(self) -> list[str]:
        """The tasks that any variant was run on."""
        return [task for tasks in self.groups.values() for task in tasks]

    @cached_property
    def missing(self) -> list[str]:
        """The requested tasks that no variant was run on."""
        return [
            task
            for task in self.wanted or ()
            if task not in self.tasks and task not in self.left_out
        ]

    @cached_property
    def scores(self) -> dict[str, dict[str, float]]:
        """Mean scores; variants in the order of `sort`: the best mean over tasks, the best rank, or
        the fewest parameters.

        Those that lack a task come last.
        """
        scores: dict[str, dict[str, float]] = {row.variant: {} for row in self.board}
        params: dict[str, list[float]] = {row.variant: [] for row in self.board}
        for row in self.board:
            if row.mean is not None and row.params is not None:
                scores[row.variant][row.task] = row.mean
                params[row.variant].append(row.params)
        means = {variant: mean_of(of_tasks, self.tasks) for variant, of_tasks in scores.items()}
        ranks = mean_ranks(scores, self.tasks) if self.sort == "rank" else {}

        def place(variant: str) -> tuple:
            first = {
                "mean": 0.0,
                "rank": ranks.get(variant) or 0.0,
                "params": float(np.mean(params[variant] or [0.0])),
            }[self.sort]
            return (
                means[variant] is None,
                first,
                -(means[variant] or 0.0),
                -len(scores[variant]),
                variant,
            )

        return {variant: scores[variant] for variant in sorted(scores, key=place)}

    @cached_property
    def results(self) -> dict[tuple[str, str], TaskResult]:
        """The board's rows by (variant, task)."""
        return {(row.variant, row.task): row for row in self.board}

    @cached_property
    def seeds(self) -> int:
        """Seeds of a complete result: the most that any has."""
        return max(row.n for row in self.board)

    @cached_property
    def methods(self) -> dict[str, "MethodSummary"]:
        """By variant, in the order of `scores`."""
        computed = {
            statistic.name: statistic.of(self.scores, self.groups)
            if len(self.scores) >= statistic.fewest_variants
            else {}
            for statistic in STATISTICS
        }
        rows: dict[str, list[TaskResult]] = {variant: [] for variant in self.scores}
        for row in self.board:
            rows[row.variant].append(row)
        return {
            variant: MethodSummary(
                rows[variant][0].cell.method,
                {name: values.get(variant) for name, values in computed.items()},
                group_means(scores, self.groups),
                mean_of_present(scores, self.tasks),
                {
                    cost.name: _units(rows[variant])
                    if cost.of_all
                    else _mean(getattr(row, cost.name) for row in rows[variant])
                    for cost in COSTS.values()
                },
                len(scores),
                trials=_ends(row.cell.trials for row in rows[variant]),
                epochs=_ends(row.cell.epochs for row in rows[variant]),
                family=rows[variant][0].cell.family,
                year=rows[variant][0].cell.year,
            )
            for variant, scores in self.scores.items()
        }

    @cached_property
    def rank_intervals(self) -> dict[str, tuple[float, float]]:
        """How far the mean ranks of complete variants would move with other tasks and seeds; empty
        with too few of either."""
        scores = {
            variant: {
                task: [row.scores[seed] for seed in sorted(row.scores)]
                for task in self.tasks
                if (row := self.results.get((variant, task)))
            }
            for variant in self.scores
        }
        return rank_intervals(scores, self.tasks)

    @cached_property
    def devices(self) -> list[str]:
        """What final runs were made on."""
        return sorted({device for row in self.board for device in row.devices})

    @cached_property
    def near(self) -> dict[str, set[str]]:
        """{task: variants} whose mean is within the 95 % interval of the task's best (Student's t
        over its seeds), except the best itself."""
        near: dict[str, set[str]] = {}
        for task in self.tasks:
            of_task = {
                variant: scores[task] for variant, scores in self.scores.items() if task in scores
            }
            best = max(of_task, key=lambda variant: of_task[variant], default=None)
            around = (
                interval(list(self.results[best, task].scores.values()))
                if best is not None
                else None
            )
            near[task] = {
                variant
                for variant, mean in of_task.items()
                if around and variant != best and mean >= around[0]
            }
        return near


@dataclass(frozen=True)
class MethodSummary:
    """A variant over the tasks of a section."""

    method: str
    statistics: dict[str, float | None]
    """By the names in `STATISTICS`; None if a task is missing, or with too few variants."""
    group_means: dict[str, float | None]
    """None where a task is missing."""
    mean_of_present: float | None
    """Over the tasks on which it has a score, all or not."""
    costs: dict[str, float | None]
    """By the names in `COSTS`, over the tasks where it is known."""
    tasks: int
    """The number on which it has a score."""
    trials: tuple[float, float] | None
    """Per task, fewest and most; so are the epochs."""
    epochs: tuple[float, float] | None
    family: str
    year: int | None

    @property
    def params(self) -> float | None:
        """Tuned parameters, mean over tasks."""
        return self.costs["params"]

    @property
    def ppt(self) -> float | None:
        """V-PETL Bench's score."""
        return ppt(self.mean, self.params)

    @property
    def mean(self) -> float | None:
        return self.statistics["mean"]

    @property
    def mean_of_groups(self) -> float | None:
        return self.statistics["mean_of_groups"]

    @property
    def mean_rank(self) -> float | None:
        return self.statistics["mean_rank"]


def _units(rows: Sequence[TaskResult]) -> float:
    """Forward-image units of all searches and final runs."""
    return sum(
        row.cell.search_units + (0.0 if row.units is None else row.units * row.n) for row in rows
    )


def _mean(values: Iterable[float | None]) -> float | None:
    """Of those that are known."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _ends(values: Iterable[float | None]) -> tuple[float, float] | None:
    known = [value for value in values if value is not None and not math.isnan(value)]
    return (min(known), max(known)) if known else None


def sections(
    board: Sequence[TaskResult],
    wanted: Sequence[str] | None,
    suite: str | None,
    sort: Sort = "mean",
    complete_only: bool = False,
) -> list[Section]:
    """A leaderboard's sections. `wanted` tasks make one table whatever their suites; without them
    every suite gets its own.

    `complete_only` keeps the tasks on which every variant that has any score has one. Raises
    `BadInput` where there is no such task.
    """
    names = (*COMPARABLE, *(["suite"] if wanted is None else []))
    parts: dict[tuple[str, ...], list[TaskResult]] = {}
    for row in board:
        parts.setdefault(tuple(getattr(row.cell, name) for name in names), []).append(row)
    firsts = [rows[0].cell for rows in parts.values()]
    suites = [
        suite or "+".join(dict.fromkeys(row.cell.suite for row in rows)) for rows in parts.values()
    ]
    names = section_names(firsts)
    titles = [(f"{of} {name}", by) for of, (name, by) in zip(suites, names, strict=True)]
    protocols = with_metrics(titles, [first.metric for first in firsts])
    result = []
    for rows, of, (name, _), protocol in zip(parts.values(), suites, names, protocols, strict=True):
        section = Section(
            of, name, protocol, rows, tuple(wanted) if wanted is not None else None, sort
        )
        result.append(_complete(section) if complete_only else section)
    return result


def _complete(section: Section) -> Section:
    """The section with only its common tasks."""
    scored = {variant: scores for variant, scores in section.scores.items() if scores}
    kept = common_tasks(scored, section.tasks) if scored else []
    if not kept:
        raise BadInput(
            f"--complete-only: on {section.backbone}, protocol {section.protocol}, no task has a"
            " score for every method."
        )
    return replace(
        section,
        board=[row for row in section.board if row.task in kept and row.variant in scored],
        left_out=tuple(task for task in section.tasks if task not in kept),
        without=tuple(variant for variant in section.scores if variant not in scored),
    )
