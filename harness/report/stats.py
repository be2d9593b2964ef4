"""What a leaderboard says of a method over many tasks: means, means of groups, ranks. Nothing is filled in: a missing task is None."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata, t

from harness.report.frame import SECTION, Row, records

Scores = Mapping[str, Mapping[str, float]]
"""Mean score in percent: {variant: {task: score}}. What is missing isn't there."""
Groups = Mapping[str, Sequence[str]]
"""The tasks of each group."""


def mean_of(scores: Mapping[str, float], tasks: Sequence[str]) -> float | None:
    """Mean over tasks; None where one is missing, since a mean over other tasks can't be compared."""
    if not tasks or any(task not in scores for task in tasks):
        return None
    return float(np.mean([scores[task] for task in tasks]))


def group_means(scores: Mapping[str, float], groups: Groups) -> dict[str, float | None]:
    """Mean over each group's tasks; None where one is missing."""
    return {group: mean_of(scores, tasks) for group, tasks in groups.items()}


def mean_of_groups(scores: Mapping[str, float], groups: Groups) -> float | None:
    """Mean of the groups' means, VTAB's other convention: a small group counts as much as a large one. None where a task is missing."""
    means = [mean for mean in group_means(scores, groups).values() if mean is not None]
    return float(np.mean(means)) if means and len(means) == len(groups) else None


def common_tasks(scores: Scores, tasks: Sequence[str]) -> list[str]:
    """The tasks that every variant has a score on."""
    return [task for task in tasks if all(task in of_tasks for of_tasks in scores.values())]


def mean_ranks(scores: Scores, tasks: Sequence[str]) -> dict[str, float | None]:
    """Mean rank of each variant, 1 the best, over the tasks that every variant has. Ties share the average.

    None where there is no such task.
    """
    common = common_tasks(scores, tasks)
    if not common or not scores:
        return dict.fromkeys(scores)
    table = np.array([[of_tasks[task] for task in common] for of_tasks in scores.values()])
    ranks = rankdata(-table.round(9), method="average", axis=0)  # rounded: the same scores in another order of seeds are a tie
    return dict(zip(scores, ranks.mean(axis=1).tolist(), strict=True))


@dataclass(frozen=True)
class Difference:
    """How much better one method is than another, in percentage points, with a 95 % interval; None where there are too few tasks."""

    mean: float
    low: float | None
    high: float | None


def mean_difference(one: Mapping[str, Mapping[int, float]], other: Mapping[str, Mapping[int, float]]) -> Difference | None:
    """Mean over tasks of the difference `one` - `other`; scores are {task: {seed: percent}}, paired by task and seed.

    The interval is Student's t over tasks taken as a sample, each task's difference averaged over its seeds, so that it holds the spread of
    both. None where the two don't have the same tasks, or share no seed on one.
    """
    if not one or one.keys() != other.keys():
        return None
    differences = []
    for task in one:
        seeds = one[task].keys() & other[task].keys()
        if not seeds:
            return None
        differences.append(np.mean([one[task][seed] - other[task][seed] for seed in seeds]))
    mean = float(np.mean(differences))
    if len(differences) < 3:
        return Difference(mean, None, None)
    half = float(t.ppf(0.975, len(differences) - 1) * np.std(differences, ddof=1) / np.sqrt(len(differences)))
    return Difference(mean, mean - half, mean + half)


@dataclass(frozen=True)
class Section:
    """The part of a leaderboard whose scores may be compared: one backbone, one protocol, one metric."""

    suite: str
    backbone: str
    protocol: str
    board: list[Row]
    """Rows of `frame.leaderboard`."""
    wanted: tuple[str, ...] | None
    """The tasks that were asked for, in order; None: all there are."""

    @property
    def first(self) -> Row:
        """Any row: for what all rows of a section share."""
        return self.board[0]

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """Tasks by group, both in the order asked for, else in that of the plan."""
        order = {task: index for index, task in enumerate(self.wanted or ())}
        groups: dict[str, list[str]] = {}
        for row in sorted(self.board, key=lambda row: order.get(row["task"], 0)):
            tasks = groups.setdefault(row["group"], [])
            if row["task"] not in tasks:
                tasks.append(row["task"])
        return groups

    @cached_property
    def tasks(self) -> list[str]:
        """The tasks that any variant was run on."""
        return [task for tasks in self.groups.values() for task in tasks]

    @cached_property
    def missing(self) -> list[str]:
        """The tasks asked for that no variant was run on."""
        return [task for task in self.wanted or () if task not in self.tasks]

    @cached_property
    def scores(self) -> dict[str, dict[str, float]]:
        """Mean scores; variants from the best to the worst by their mean over tasks, those that lack a task last."""
        scores: dict[str, dict[str, float]] = {row["variant"]: {} for row in self.board}
        for row in self.board:
            if row["n"] > 0:
                scores[row["variant"]][row["task"]] = row["mean"]
        means = {variant: mean_of(of_tasks, self.tasks) for variant, of_tasks in scores.items()}
        return dict(sorted(scores.items(), key=lambda item: (means[item[0]] is None, -(means[item[0]] or 0.0), -len(item[1]), item[0])))

    @cached_property
    def squares(self) -> dict[tuple[str, str], Row]:
        """The board's rows by (variant, task)."""
        return {(row["variant"], row["task"]): row for row in self.board}

    @cached_property
    def seeds(self) -> int:
        """Seeds of a complete square: the most that any has."""
        return max(row["n"] for row in self.board)

    @cached_property
    def methods(self) -> dict[str, dict[str, Any]]:
        """A variant's summary: `method`, `mean`, `group_means`, `mean_of_groups`, `mean_rank` (None for one variant alone), `params` (mean
        over tasks) and on how many `tasks` it has a score.
        """
        ranks = mean_ranks(self.scores, self.tasks) if len(self.scores) > 1 else {}
        return {
            variant: {
                "method": next(row["method"] for row in self.board if row["variant"] == variant),
                "mean": mean_of(scores, self.tasks),
                "group_means": group_means(scores, self.groups),
                "mean_of_groups": mean_of_groups(scores, self.groups),
                "mean_rank": ranks.get(variant),
                "params": float(np.mean([self.squares[variant, task]["params"] for task in scores])) if scores else None,
                "tasks": len(scores),
            }
            for variant, scores in self.scores.items()
        }


def sections(board: pd.DataFrame, wanted: Sequence[str] | None, suite: str | None) -> list[Section]:
    """A leaderboard's sections. `wanted` tasks make one table whatever their suites; without them each suite has its own."""
    parts: dict[tuple[str, ...], list[Row]] = {}
    for row in records(board):
        parts.setdefault(tuple(row[name] for name in (*SECTION, *(["suite"] if wanted is None else []))), []).append(row)
    firsts = [rows[0] for rows in parts.values()]
    made = []
    for rows in parts.values():
        first = rows[0]
        alike = [other for other in firsts if other["backbone"] == first["backbone"]]
        backbone = first["backbone"] + (f"@{first['backbone_sha'][:8]}" if len({other["backbone_sha"] for other in alike}) > 1 else "")
        settings = {other["settings"] for other in firsts if other["protocol"] == first["protocol"]}
        protocol = first["protocol"] + _differences(json.loads(first["settings"]), [json.loads(other) for other in settings])
        name = suite or "+".join(dict.fromkeys(row["suite"] for row in rows))
        made.append(Section(name, backbone, protocol, rows, tuple(wanted) if wanted is not None else None))
    return made


def _differences(settings: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> str:
    """What sets a protocol apart from others of the same name, as `(trials=8)`; empty where nothing does."""
    apart = {name: value for name, value in settings.items() if any(other.get(name) != value for other in others)}
    inside = ",".join(f"{name}={json.dumps(value, separators=(',', ':'))}" for name, value in apart.items())
    return f"({inside if len(inside) <= 60 else inside[:57] + '...'})" if inside else ""
