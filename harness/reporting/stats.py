"""What a leaderboard says of a method over many tasks: means, means of groups, ranks. Nothing is
filled in: a missing task is None."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from harness.backbones import own_side
from harness.errors import BadInput
from harness.reporting.frame import SECTION, Row, records
from harness.reporting.intervals import interval

Scores = Mapping[str, Mapping[str, float]]
"""Mean score in percent: {variant: {task: score}}. What is missing isn't there."""
Sort = Literal["mean", "rank", "params"]
Groups = Mapping[str, Sequence[str]]
"""The tasks of each group."""


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
    """Mean over those of the tasks that have a score, to be shown as such and never ranked; None
    where none has."""
    present = [scores[task] for task in tasks if task in scores]
    return float(np.mean(present)) if present else None


def common_tasks(scores: Scores, tasks: Sequence[str]) -> list[str]:
    """The tasks that every variant has a score on."""
    return [task for task in tasks if all(task in of_tasks for of_tasks in scores.values())]


def mean_ranks(scores: Scores, tasks: Sequence[str]) -> dict[str, float | None]:
    """Mean rank of each variant over the tasks, 1 the best, among the variants that have all of
    them. Ties share the average.

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
        # rounded: the same scores in another order of seeds are a tie
        found = pd.DataFrame(-table.round(9)).rank()
        ranks.update(zip(complete, found.mean(axis=1).tolist(), strict=True))
    return ranks


@dataclass(frozen=True)
class Section:
    """The part of a leaderboard whose scores may be compared: one backbone, one protocol, one
    metric."""

    suite: str
    backbone: str
    protocol: str
    board: list[Row]
    """Rows of `frame.leaderboard`."""
    wanted: tuple[str, ...] | None
    """The tasks that were asked for, in order; None: all there are."""
    sort: Sort = "mean"
    left_out: tuple[str, ...] = ()
    """Tasks that `complete_only` leaves out, since a method lacks them."""
    without: tuple[str, ...] = ()
    """Variants that `complete_only` leaves out, since they have no score at all."""

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
        return [
            task
            for task in self.wanted or ()
            if task not in self.tasks and task not in self.left_out
        ]

    @cached_property
    def scores(self) -> dict[str, dict[str, float]]:
        """Mean scores; variants in the order of `sort`: the best mean over tasks, the best rank, or
        the fewest trained values.

        Those that lack a task come last.
        """
        scores: dict[str, dict[str, float]] = {row["variant"]: {} for row in self.board}
        params: dict[str, list[float]] = {row["variant"]: [] for row in self.board}
        for row in self.board:
            if row["n"] > 0:
                scores[row["variant"]][row["task"]] = row["mean"]
                params[row["variant"]].append(row["params"])
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
    def squares(self) -> dict[tuple[str, str], Row]:
        """The board's rows by (variant, task)."""
        return {(row["variant"], row["task"]): row for row in self.board}

    @cached_property
    def seeds(self) -> int:
        """Seeds of a complete square: the most that any has."""
        return max(row["n"] for row in self.board)

    @cached_property
    def methods(self) -> dict[str, dict[str, Any]]:
        """A variant's summary: `method`; `mean`, `group_means`, `mean_of_groups` (None where a task
        is missing); `mean_of_present` and on how many `tasks` it has a score; `mean_rank` (None for
        one variant alone, or where a task is missing); `params` (mean over tasks); and its budget:
        `trials` and `epochs` a task (smallest and largest), `units` of all its searches and final
        runs.
        """
        ranks = mean_ranks(self.scores, self.tasks) if len(self.scores) > 1 else {}
        rows: dict[str, list[Row]] = {variant: [] for variant in self.scores}
        for row in self.board:
            rows[row["variant"]].append(row)
        return {
            variant: {
                "method": rows[variant][0]["method"],
                "mean": mean_of(scores, self.tasks),
                "group_means": group_means(scores, self.groups),
                "mean_of_groups": mean_of_groups(scores, self.groups),
                "mean_of_present": mean_of_present(scores, self.tasks),
                "mean_rank": ranks.get(variant),
                "params": (
                    float(np.mean([self.squares[variant, task]["params"] for task in scores]))
                    if scores
                    else None
                ),
                "tasks": len(scores),
                "trials": _ends(row["trials"] for row in rows[variant]),
                "epochs": _ends(row["epochs"] for row in rows[variant]),
                "units": sum(
                    row["search_units"] + (row["units"] * row["n"] if row["n"] else 0.0)
                    for row in rows[variant]
                ),
            }
            for variant, scores in self.scores.items()
        }

    @cached_property
    def near(self) -> dict[str, set[str]]:
        """{task: variants} whose mean is within the 95 % interval of the task's best (Student's t
        over its seeds), the best itself not."""
        found: dict[str, set[str]] = {}
        for task in self.tasks:
            of_task = {
                variant: scores[task] for variant, scores in self.scores.items() if task in scores
            }
            best = max(of_task, key=lambda variant: of_task[variant], default=None)
            around = (
                interval(list(self.squares[best, task]["scores"].values()))
                if best is not None
                else None
            )
            found[task] = {
                variant
                for variant, mean in of_task.items()
                if around and variant != best and mean >= around[0]
            }
        return found


def _ends(values: Iterable[float | None]) -> tuple[float, float] | None:
    known = [value for value in values if value is not None and not np.isnan(value)]
    return (min(known), max(known)) if known else None


def sections(
    board: pd.DataFrame,
    wanted: Sequence[str] | None,
    suite: str | None,
    sort: Sort = "mean",
    complete_only: bool = False,
) -> list[Section]:
    """A leaderboard's sections. `wanted` tasks make one table whatever their suites; without them
    each suite has its own.

    `complete_only` keeps the tasks on which every variant that has any score has one. Raises
    `BadInput` where there is no such task.
    """
    parts: dict[tuple[str, ...], list[Row]] = {}
    for row in records(board):
        parts.setdefault(
            tuple(row[name] for name in (*SECTION, *(["suite"] if wanted is None else []))), []
        ).append(row)
    firsts = [rows[0] for rows in parts.values()]
    made = []
    for rows in parts.values():
        first = rows[0]
        alike = [other for other in firsts if other["backbone"] == first["backbone"]]
        backbone = first["backbone"] + (
            f"@{first['backbone_sha'][:8]}"
            if len({other["backbone_sha"] for other in alike}) > 1
            else ""
        )
        backbone += _inputs(first, alike)
        settings = {other["settings"] for other in firsts if other["protocol"] == first["protocol"]}
        protocol = first["protocol"] + _differences(
            json.loads(first["settings"]), [json.loads(other) for other in settings]
        )
        name = suite or "+".join(dict.fromkeys(row["suite"] for row in rows))
        section = Section(
            name, backbone, protocol, rows, tuple(wanted) if wanted is not None else None, sort
        )
        made.append(_complete(section) if complete_only else section)
    return made


def _inputs(first: Row, alike: Sequence[Row]) -> str:
    """What a backbone was given, as far as its name doesn't say it or other sections of the same
    backbone were given something else."""
    own = own_side(first["backbone"])
    sides, normalized = ({row[name] for row in alike} for name in ("side", "normalize"))
    side = (
        first["side"]
        and first["metric"] == "top1"
        and (len(sides) > 1 or first["side"] != str(own))
    )
    return (f" at {first['side']} px" if side else "") + (
        f", normalized by {first['normalize']}"
        if len(normalized) > 1 or first["normalize"] != "imagenet"
        else ""
    )


def _complete(section: Section) -> Section:
    """The section's common tasks alone."""
    scored = {variant: scores for variant, scores in section.scores.items() if scores}
    kept = common_tasks(scored, section.tasks) if scored else []
    if not kept:
        raise BadInput(
            f"--complete-only: on {section.backbone}, protocol {section.protocol}, no task has a"
            " score of every method."
        )
    return replace(
        section,
        board=[row for row in section.board if row["task"] in kept and row["variant"] in scored],
        left_out=tuple(task for task in section.tasks if task not in kept),
        without=tuple(variant for variant in section.scores if variant not in scored),
    )


def _differences(settings: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> str:
    """What sets a protocol apart from others of the same name, as `(trials=8)`; empty where nothing
    does."""
    apart = {
        name: value
        for name, value in settings.items()
        if any(other.get(name) != value for other in others)
    }
    inside = ",".join(
        f"{name}={json.dumps(value, separators=(',', ':'))}" for name, value in apart.items()
    )
    return f"({inside if len(inside) <= 60 else inside[:57] + '...'})" if inside else ""
